"""The commands. Heavy imports happen inside a command, so that help answers at once."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.errors import UserError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Which negatives should a retrieval model be trained with, on this data, and is the difference real?",
    epilog="Example: bench run strategy=hardest_neg. With --debug anywhere, errors show where they came from.",
)
data_app = typer.Typer(
    no_args_is_help=True,
    help="Look at data sets before training on them.",
    epilog="Example: bench data inspect path/to/my_data",
)
app.add_typer(data_app, name="data")
new_app = typer.Typer(
    no_args_is_help=True, help="Begin something of your own.", epilog="Example: bench new strategy soft_hinge"
)
app.add_typer(new_app, name="new")

RunsDir = Annotated[Path, typer.Option(help="Where the records are.")]


@app.command(
    epilog="Example: bench run strategy=in_batch,hardest_neg seed=1,2,3 train.batch_size=64 strategy.margin=0.2"
)
def run(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE...", help="Settings; commas sweep. See --print-config for all."),
    ] = None,
    print_config: Annotated[
        bool,
        typer.Option("--print-config", help="Show every setting and where its value is from; run nothing."),
    ] = False,
    again: Annotated[
        str | None,
        typer.Option(metavar="RUN_ID", help="Repeat a recorded run exactly, beside it, and compare."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Run again what is finished already.")] = False,
) -> None:
    """Train and evaluate: one run, or one for each combination of comma sweeps. Finished runs are skipped."""
    from bench.commands import run as command

    if again is not None:
        if not command.repeat(again, overrides or []):
            raise typer.Exit(1)
    elif print_config:
        command.print_config(overrides or [])
    elif not command.run_all(overrides or [], force=force):
        raise typer.Exit(2)


@app.command(epilog="Example: bench report --runs-dir runs --out reports/results/mine")
def report(
    runs_dir: RunsDir = Path("runs"),
    metric: Annotated[
        str | None, typer.Option(help="What decides and is tested; by default recall@1.", show_default=False)
    ] = None,
    against: Annotated[str, typer.Option(help="The strategy that gains are told on.")] = "in_batch",
    out: Annotated[
        Path | None, typer.Option(help="Write report.html, report.md and figures/ into this directory instead.")
    ] = None,
) -> None:
    """Say what the runs come to: verdict, tables with tests and price, figures, beside the documented results."""
    from bench.commands.report import report as command

    command(runs_dir, out, metric, against)


@app.command(epilog="Example: bench compare data=medquad strategy=in_batch,mined_hard,mnr train.max_steps=100")
def compare(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE...", help="Which runs: by any setting, one of several values with commas."),
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="What is compared and tested; by default recall@1.", show_default=False)
    ] = None,
    allow: Annotated[str, typer.Option(help="What may differ: data, encoder, evaluation, budget, with commas.")] = "",
    every_pair: Annotated[
        bool, typer.Option("--every-pair", help="Show all differences, not the first row's.")
    ] = False,
    runs_dir: RunsDir = Path("runs"),
    out: Annotated[Path | None, typer.Option(help="Write into this file instead.")] = None,
) -> None:
    """Compare finished runs: intervals over seeds, which differences are real, and at what price."""
    from bench.commands.compare import compare as command

    command(words or [], runs_dir, metric, [name for name in allow.split(",") if name], every_pair, out)


@app.command(epilog="Example: bench study margin --trials 20 data=my_data strategy=in_batch,hardest_neg")
def study(
    name: Annotated[str, typer.Argument(help="Which question: see bench list studies.")],
    words: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="Settings of every run; strategy=a,b is a list.")
    ] = None,
    trials: Annotated[int | None, typer.Option(help="Trials of each strategy.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Seeds of each trial, 1 to this.")] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds after which no trial is begun.")] = None,
    storage: Annotated[
        str | None, typer.Option(metavar="URL", help="A database that several machines share; else a file.")
    ] = None,
    sampler: Annotated[str, typer.Option(help="tpe or random.")] = "tpe",
    out: Annotated[Path | None, typer.Option(help="Put the table and the figure into this directory too.")] = None,
) -> None:
    """Answer one question by many runs. The same command goes on after a kill; on several machines they share it."""
    from bench.commands.study import study as command

    given = list(words or [])
    options: dict[str, object] = {
        "trials": trials,
        "seeds": seeds,
        "timeout": timeout,
        "storage": storage,
        "sampler": sampler,
    }
    for word in given:  # trials=20 is as good as --trials 20
        key, _, value = word.partition("=")
        if key in options:
            options[key] = value
    command(name, [word for word in given if word.partition("=")[0] not in options], options, out)


@app.command(epilog="Example: bench reproduce paddle_in_batch data.path=literature_search_data")
def reproduce(
    name: Annotated[str | None, typer.Argument(help="Which documented row; without one they are listed.")] = None,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="Where its data and encoder are; other settings.")
    ] = None,
) -> None:
    """Repeat a documented result by its settings, and say whether the number is reached within its tolerance."""
    from bench.commands.reproduce import reproduce as command

    if not command(name, words or []):
        raise typer.Exit(1)


@app.command(epilog="Example: bench dashboard margin-docstrings-1a2b3c4d")
def dashboard(
    name: Annotated[
        str | None, typer.Argument(metavar="STUDY", help="A study's directory under runs/studies; else the report.")
    ] = None,
    wandb: Annotated[bool, typer.Option("--wandb", help="Save a W&B workspace and report of the project.")] = False,
    runs_dir: RunsDir = Path("runs"),
    storage: Annotated[str | None, typer.Option(metavar="URL", help="Where its trials are, if in a database.")] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where to listen.")] = 8080,
) -> None:
    """Look at it: the report as a page, a study's trials in Optuna's dashboard, or everything in W&B."""
    from bench.commands import dashboard as command

    if wandb:
        command.wandb_pages(runs_dir)
    else:
        command.dashboard(name, runs_dir, storage, port)


class Listed(StrEnum):
    """What can be listed."""

    STRATEGIES = "strategies"
    STUDIES = "studies"


@app.command("list", epilog="Example: bench list strategies")
def list_registered(
    what: Annotated[Listed, typer.Argument(help="What to list.")] = Listed.STRATEGIES,
    markdown: Annotated[bool, typer.Option("--markdown", help="As the page docs/strategies.md.")] = False,
) -> None:
    """List the strategies (what each does, its negatives, its knobs with ranges and sources) or the studies."""
    if what is Listed.STUDIES:
        from bench.commands.study import list_studies

        list_studies()
    else:
        from bench.commands.strategies import list_strategies

        list_strategies(markdown)


@new_app.command("strategy", epilog="Example: bench new strategy soft_hinge")
def new_strategy(name: Annotated[str, typer.Argument(help="Small letters, digits and _.")]) -> None:
    """Write a strategy that works and passes the tests, to change into your own."""
    from bench.commands.new import new_strategy

    for path in new_strategy(name):
        print(path)


@data_app.command("inspect", epilog="Example: bench data inspect path/to/my_data")
def inspect_data(
    name: Annotated[str, typer.Argument(metavar="DIR", help="A directory, a .jsonl file or a preset.")],
    encoder: Annotated[str | None, typer.Option(help="Also count the texts that this encoder would truncate.")] = None,
) -> None:
    """Count and measure a data set, and name every problem with its file and line."""
    from bench.commands.data import inspect

    if not inspect(name, encoder):
        raise typer.Exit(2)


@contextmanager
def _told(debug: bool) -> Iterator[None]:
    """Errors of the person as one message and status 2, an interruption as one line and status 130."""
    try:
        yield
    except UserError as error:
        if debug:
            raise
        print(f"bench: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except OSError as error:
        if debug or error.errno != errno.ENOSPC:
            raise
        print("bench: cannot write the output: no space left on device", file=sys.stderr)
        raise SystemExit(2) from None
    except (KeyboardInterrupt, SystemExit) as end:
        # Typer turns an interruption into a silent exit with status 130.
        if isinstance(end, SystemExit) and end.code != 130:
            raise
        if debug:
            raise
        print("bench: interrupted; the same command goes on from what is on the disk", file=sys.stderr)
        raise SystemExit(130) from None


def main(arguments: list[str] | None = None) -> Any:
    """Entry point of ``bench``; ``--debug`` anywhere shows tracebacks."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    if not debug:
        # What a hub client says while it retries is in the error in the end. Read when they are imported.
        for library in ("HF_HUB", "TRANSFORMERS"):
            os.environ.setdefault(f"{library}_VERBOSITY", "error")
    with _told(debug):
        return app(args=words, prog_name="bench")


if __name__ == "__main__":
    main()
