"""The commands that stand in groups (``bench data ...``, ``bench new ...``); heavy modules are imported inside them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from bench.commands import completion

RunsDir = Annotated[Path, typer.Option(help="The directory of the runs, or of their pack.")]


def settings(what: str) -> Any:
    """The argument of all commands that take settings."""
    return typer.Argument(metavar="KEY=VALUE...", help=what, autocompletion=completion.words)


data_app = typer.Typer(
    no_args_is_help=True,
    help="Inspect data sets before training on them, get a published one, make pairs, or judge hard negatives.",
    epilog="Example: bench data inspect path/to/my_data",
)

new_app = typer.Typer(
    no_args_is_help=True,
    help="Create a file of your own to start from.",
    epilog="Example: bench new strategy soft_hinge",
)

records_app = typer.Typer(
    no_args_is_help=True, help="Publish records.", epilog="Example: bench records pack data=medquad --out records"
)


@new_app.command("strategy", epilog="Example: bench new strategy soft_hinge")
def new_strategy(name: Annotated[str, typer.Argument(help="Lower-case letters, digits and _.")]) -> None:
    """Write a working strategy that passes the tests, as a start for your own."""
    from bench.commands.new import new_strategy

    for path in new_strategy(name):
        print(path)
    print(f"next: bench run strategy={name}; in a checkout, also pytest tests/test_strategies.py -k {name}")
    print("and: bench list --markdown > docs/strategies.md")


@records_app.command("pack", epilog="Example: bench records pack data=medquad --out reports/results/records")
def pack_records(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Write the pack into this directory.")],
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN_ID|KEY=VALUE]...",
            help="Which runs; all finished ones by default.",
            autocompletion=completion.words,
        ),
    ] = None,
    studies: Annotated[bool, typer.Option("--studies", help="Pack every study, with its final runs.")] = False,
    items: Annotated[
        Literal["all", "headline", "none"],
        typer.Option(help="Values of single queries or pairs: of all metrics, or of the headline, which is tested."),
    ] = "all",
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """Pack finished runs into one small file that report and compare read like the runs: no texts, no weights."""
    from bench.commands.records import pack

    pack(words or [], runs_dir, out, studies, items)


@data_app.command("inspect", epilog="Example: bench data inspect path/to/my_data")
def inspect_data(
    name: Annotated[str, typer.Argument(metavar="DATA", help="A directory, a file, a preset or hf:OWNER/NAME.")],
    words: Annotated[list[str] | None, settings("How it is read, such as data.skip_broken=true.")] = None,
    encoder: Annotated[str | None, typer.Option(help="Also count what this encoder loses of texts.")] = None,
) -> None:
    """Count and measure a data set, show rows of each file, and report every problem with its file and line."""
    from bench.commands.data import inspect

    raise typer.Exit(0 if inspect(name, encoder, words or []) else 2)


@data_app.command("get", epilog="Example: bench data get medquad --out data/medquad")
def get_data(
    name: Annotated[
        str, typer.Argument(help="medquad, finqa10k, arxiv or classical.", autocompletion=completion.gettable)
    ],
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Write into this directory; by default NAME.")] = None,
    source: Annotated[
        Path | None, typer.Option(metavar="PATH", help="The source, if it is on this machine already.")
    ] = None,
) -> None:
    """Make a data set of the published pages from its public source, and check that it is the published one."""
    from bench.commands.data import get

    get(name, out or Path(name), source)


class Kind(StrEnum):
    """What the sentences of a document have in common."""

    PASSAGES = "passages"
    ANSWERS = "answers"


class Document(StrEnum):
    """What separates documents."""

    LINE = "line"
    BLANK = "blank"


@data_app.command("pairs", epilog="Example: bench data pairs articles.txt.gz --out similar")
def make_pairs(
    texts: Annotated[list[str], typer.Argument(metavar="TEXTS...", help="Text files, plain or gzip; - reads stdin.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Write the data set into this directory.")],
    kind: Annotated[
        Kind, typer.Option(help="A document is a passage (threshold 0.6), or the answers to one question (0.4).")
    ] = Kind.PASSAGES,
    threshold: Annotated[
        float | None, typer.Option(help="The least similarity of a pair, instead of the kind's.", show_default=False)
    ] = None,
    document: Annotated[
        Document, typer.Option(help="A document is a line, or the lines up to a blank one.")
    ] = Document.LINE,
) -> None:
    """Make pseudo-similar pairs: sentences of one document that share most of their characters or words."""
    from bench.commands.data import pairs

    pairs(texts, out, kind.value, threshold, document is Document.LINE)


@data_app.command("judge", epilog="Example: bench data judge DIR --by DIR_OR_HUB_ID --out verdicts.jsonl")
def judge_negatives(
    name: Annotated[str, typer.Argument(metavar="DATA", help="A directory, a file, a preset or hf:OWNER/NAME.")],
    by: Annotated[str, typer.Option(metavar="CROSS_ENCODER", help="A cross-encoder: a directory or a hub id.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Write the verdicts into this file, as JSON lines.")],
    words: Annotated[list[str] | None, settings("How it is read, such as data.max_train=1000, and device.")] = None,
    search: Annotated[str, typer.Option(help="What finds passages to judge: bm25, or an encoder.")] = "bm25",
    first: Annotated[int, typer.Option(help="The first rank that is judged, counted from 0.")] = 0,
    last: Annotated[int, typer.Option(help="The rank before which judging ends.")] = 20,
    keep: Annotated[float, typer.Option(help="Passages less likely relevant than this are negatives.")] = 0.1,
    relabel: Annotated[float, typer.Option(help="Passages more likely relevant than this become positives.")] = 0.9,
) -> None:
    """Judge hard negatives by a cross-encoder (RocketQA's denoising); train on the result with data.judged=FILE."""
    from bench.commands.judge import judge
    from bench.use.judge import Bounds, Candidates

    judge(name, words or [], by, out, Candidates(search, first, last), Bounds(keep, relabel))
