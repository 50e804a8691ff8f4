"""``bench generate``: sentences similar to a given one, by a run that was trained to generate."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.atomic import explain_write_errors, write_atomic
from bench.commands import completion
from bench.commands.groups import RunsDir
from bench.errors import UserError, at_least

if TYPE_CHECKING:
    from bench.use.generation import Generated, Sampling

app = typer.Typer()


@app.command(epilog='Example: bench generate simbert-lcqmc-s1-8c84c7be "how do I reset my password" --n 20 --seed 1')
def generate(
    model: Annotated[
        str,
        typer.Argument(
            metavar="RUN|DIR",
            help="A run of simbert or roformer_sim: its id or directory.",
            autocompletion=completion.runs,
        ),
    ],
    text: Annotated[str | None, typer.Argument(help="The sentence; or give --texts.")] = None,
    n: Annotated[int, typer.Option("--n", help="Sentences to show, the most similar first.")] = 20,
    mask: Annotated[
        str, typer.Option(metavar="PLACES", help="Tokens to hide from the model, such as 3,4; the first word is 1.")
    ] = "",
    seed: Annotated[int, typer.Option(help="Equal seeds give equal sentences.")] = 0,
    top_p: Annotated[float, typer.Option(help="Draw from the fewest tokens that have this probability.")] = 0.95,
    candidates: Annotated[int, typer.Option(help="Sentences to sample, of which the best are shown.")] = 100,
    texts: Annotated[Path | None, typer.Option(metavar="FILE", help="Sentences to start from, one a line.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.jsonl", help="Write a line for each sentence into this file instead.")
    ] = None,
    measure: Annotated[
        str | None, typer.Option(metavar="ENCODER", help="Also print measures, with cosines by this encoder.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """Generate sentences similar to a given one, best first, with their cosine to it."""
    sources = _sources(text, texts)
    at_least("--n", n, 1)
    if n > candidates:
        raise UserError(f"--n {n} is more than the {candidates} sentences that are sampled; raise --candidates")
    places = _places(mask)
    from bench.use.generation import Sampling

    made = _generate(model, sources, Sampling(candidates, top_p, mask=places, seed=seed), device, runs_dir)
    if out is not None:
        _write(made, n, out)
    else:
        _print(made, n)
    if measure is not None:
        _measure(made, n, measure, device, runs_dir)


def _sources(text: str | None, file: Path | None) -> list[str]:
    """The sentences to start from."""
    if (text is None) == (file is None):
        raise UserError("give either a sentence or --texts FILE")
    if text is not None:
        return [text]
    assert file is not None
    from bench.use.texts import read_lines

    return read_lines(file, "--texts")


def _places(mask: str) -> tuple[int, ...]:
    try:
        return tuple(int(place) for place in mask.split(",")) if mask else ()
    except ValueError:
        raise UserError(f"--mask {mask}: give places with commas, such as 3,4") from None


def _generate(model: str, sources: Sequence[str], sampling: Sampling, device: str, runs_dir: Path) -> list[Generated]:
    from bench.commands.output import show_logs
    from bench.progress import Display
    from bench.use.generation import Generator
    from bench.use.weights import settings_of

    show_logs()
    generator = Generator.load(settings_of(model, runs_dir), device)
    made = []
    with Display() as display, display.task("sentences", len(sources)) as advance:
        for source in sources:
            made.append(generator.similar(source, sampling))
            advance(1)
    return made


def _print(made: Sequence[Generated], n: int) -> None:
    for number, one in enumerate(made):
        if len(made) > 1:
            print(f"{'' if number == 0 else chr(10)}{one.source}")
        for text, cosine in one.ranked[:n]:
            print(f"{cosine:.3f}  {text}")
        if not one.ranked:
            print(f"nothing was generated but the sentence itself: {one.source}", file=sys.stderr)


def _write(made: Sequence[Generated], n: int, out: Path) -> None:
    rows = [
        {"text": one.source, "generated": [{"text": text, "cosine": round(c, 6)} for text, c in one.ranked[:n]]}
        for one in made
    ]
    with explain_write_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
    print(out)


def _measure(made: Sequence[Generated], n: int, encoder: str, device: str, runs_dir: Path) -> None:
    from functools import partial

    from bench.use.embedder import Embedder
    from bench.use.measures import measure
    from bench.use.weights import settings_of

    judge = Embedder.load(settings_of(encoder, runs_dir), device)
    found = measure(made, n, partial(judge.vectors, role="query"))
    print(f"\n{len(made)} sentences, {len(made[0].sampled)} candidates each", file=sys.stderr)
    print(f"distinct {found.distinct:.1f} %", f"copied {found.copied:.1f} %", sep="\n")
    print(f"mean cosine of the {n} best to their sentence by {encoder}: {found.cosine:.3f}")
