"""The command line. Commands import heavy modules inside their functions, so that ``--help`` is fast."""

from __future__ import annotations

import gc
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from bench.commands import completion, embed, export, generate, index, search, serve
from bench.commands.ending import reporting_errors
from bench.commands.groups import RunsDir, data_app, new_app, records_app, settings
from bench.errors import UserError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Which negatives should a retrieval model be trained with, on this data, and is the difference real?",
    epilog="Example: bench run strategy=hardest_neg. With --debug, errors show a traceback.",
)
app.add_typer(data_app, name="data")
app.add_typer(new_app, name="new")
app.add_typer(records_app, name="records")
app.add_typer(embed.app)
app.add_typer(search.app)
app.add_typer(index.app)
app.add_typer(export.app)
app.add_typer(generate.app)
app.add_typer(serve.app)


Filters = Annotated[list[str] | None, settings("Which runs, by any setting; a comma list allows several values.")]
Metric = Annotated[
    str | None, typer.Option(help="The metric that is tested and ranks rows; by default recall@1.", show_default=False)
]


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"negbench {version('negbench')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Which negatives should a retrieval model be trained with, on this data, and is the difference real?"""


@app.command(
    epilog="Example: bench run strategy=in_batch,hardest_neg seed=1,2,3 train.batch_size=64 strategy.margin=0.2"
)
def run(
    overrides: Annotated[
        list[str] | None, settings("Settings; a comma list is a sweep. --print-config shows all.")
    ] = None,
    print_config: Annotated[
        bool,
        typer.Option("--print-config", help="Show every setting, its value and its origin; run nothing."),
    ] = False,
    again: Annotated[
        str | None,
        typer.Option(
            metavar="RUN_ID",
            help="Repeat a recorded run exactly, in runs_dir/again, and compare the results.",
            autocompletion=completion.runs,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Run finished runs again.")] = False,
    launcher: Annotated[
        Literal["slurm", "local"] | None,
        typer.Option(help="Submit each run as a job, to Slurm or to this machine, and return.", show_default=False),
    ] = None,
    slurm: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE,...",
            help="Of each job: time (minutes), gpus, cpus, memory, requeues, and any option of sbatch.",
        ),
    ] = None,
) -> None:
    """Train and evaluate: one run, or one for each combination of comma sweeps. Finished runs are skipped."""
    from bench.commands import run as command

    if slurm and launcher is None:
        raise UserError("--slurm is what jobs ask for; give --launcher slurm with it")
    if launcher is not None:
        if again is not None or print_config:
            raise UserError("--launcher submits runs; give it without --again and --print-config")
        from bench.commands.submit import submit_all

        submit_all(overrides or [], launcher, slurm or [], force)
    elif again is not None:
        if not command.repeat(again, overrides or []):
            raise typer.Exit(1)
    elif print_config:
        command.print_config(overrides or [])
    elif not command.run_all(overrides or [], force=force):
        raise typer.Exit(2)


@app.command(epilog="Example: bench report data=medquad --out reports/results/mine")
def report(
    words: Filters = None,
    runs_dir: RunsDir = Path("runs"),
    metric: Metric = None,
    against: Annotated[
        str,
        typer.Option(
            help="The baseline strategy that differences are stated against.", autocompletion=completion.strategies
        ),
    ] = "in_batch",
    out: Annotated[
        Path | None, typer.Option(help="Write report.html, report.md and figures/ into this directory instead.")
    ] = None,
) -> None:
    """Report finished runs: recommendations, tables with tests and costs, figures, and published results."""
    from bench.commands.report import report as command

    command(words or [], runs_dir, out, metric, against)


@app.command(epilog="Example: bench compare data=medquad strategy=in_batch,mined_hard,mnr train.max_steps=100")
def compare(
    words: Filters = None,
    metric: Metric = None,
    allow: Annotated[
        str, typer.Option(help="Aspects that may differ: data, encoder, evaluation, budget, with commas.")
    ] = "",
    every_pair: Annotated[
        bool, typer.Option("--every-pair", help="Show the differences of all pairs, not only of the first row.")
    ] = False,
    runs_dir: RunsDir = Path("runs"),
    out: Annotated[Path | None, typer.Option(help="Write into this file instead.")] = None,
) -> None:
    """Compare finished runs: 95 % CI over seeds and queries, which differences are significant, and costs."""
    from bench.commands.compare import compare as command

    command(words or [], runs_dir, metric, [name for name in allow.split(",") if name], every_pair, out)


@app.command(epilog="Example: bench study margin --trials 20 data=my_data strategy=in_batch,hardest_neg")
def study(
    name: Annotated[str, typer.Argument(help="The study; see bench list studies.", autocompletion=completion.studies)],
    words: Annotated[
        list[str] | None, settings("Settings of every run; strategy=a,b names several strategies.")
    ] = None,
    trials: Annotated[int | None, typer.Option(help="Trials of each strategy.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Number of seeds of each trial, counted from 1.")] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds after which no further trial starts.")] = None,
    storage: Annotated[
        str | None, typer.Option(metavar="URL", help="A database or journal:///FILE that machines share.")
    ] = None,
    sampler: Annotated[str, typer.Option(help="What proposes settings: tpe or random.")] = "tpe",
    out: Annotated[Path | None, typer.Option(help="Also write the table and the figure into this directory.")] = None,
) -> None:
    """Answer one question by many runs. Repeat the command to continue after a kill or on another machine."""
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
    name: Annotated[
        str | None,
        typer.Argument(help="The published row; without it, all are listed.", autocompletion=completion.documented),
    ] = None,
    words: Annotated[list[str] | None, settings("The place of its data and encoder, and other settings.")] = None,
) -> None:
    """Repeat a published result with its settings, and check whether the number is reached within its tolerance."""
    from bench.commands.reproduce import reproduce as command

    if not command(name, words or []):
        raise typer.Exit(1)


@app.command(epilog="Example: bench dashboard margin-docstrings-1a2b3c4d")
def dashboard(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="STUDY",
            help="A study's directory under runs/studies; by default the report.",
            autocompletion=completion.made_studies,
        ),
    ] = None,
    wandb: Annotated[bool, typer.Option("--wandb", help="Save a W&B workspace and report of the project.")] = False,
    runs_dir: RunsDir = Path("runs"),
    storage: Annotated[
        str | None, typer.Option(metavar="URL", help="The database of the study's trials, if they are in one.")
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port to listen on.")] = 8080,
) -> None:
    """Open the report in a browser, a study's trials in Optuna's dashboard, or save pages in W&B."""
    from bench.commands import dashboard as command

    if wandb:
        command.wandb_pages(runs_dir)
    else:
        command.dashboard(name, runs_dir, storage, port)


class Listed(StrEnum):
    """What can be listed."""

    STRATEGIES = "strategies"
    STUDIES = "studies"
    RUNS = "runs"


@app.command("list", epilog="Example: bench list strategies")
def list_registered(
    what: Annotated[Listed, typer.Argument(help="What to list.")] = Listed.STRATEGIES,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the page docs/strategies.md.")] = False,
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """List the strategies (what each does, its negatives, its knobs with ranges and sources), the studies, or the runs
    and what has become of the jobs of a cluster."""
    if what is Listed.RUNS:
        from bench.commands.runs import list_runs

        list_runs(runs_dir)
    elif what is Listed.STUDIES:
        from bench.commands.study import list_studies

        list_studies()
    else:
        from bench.commands.strategies import list_strategies

        list_strategies(markdown)


@app.command(epilog="Example: bench clean --yes")
def clean(
    kinds: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KIND]...", help="checkpoints, trials, wandb or weights; by default all but the last."),
    ] = None,
    runs_dir: Annotated[Path, typer.Option(help="The directory of the runs.")] = Path("runs"),
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it, only say what there is.")] = False,
) -> None:
    """Say what runs have left on the disk, and free it with --yes. Records are always kept."""
    from bench.commands.clean import clean as command

    command(kinds or [], runs_dir, yes)


def main(arguments: list[str] | None = None) -> Any:
    """Entry point of ``bench``; ``--debug`` anywhere shows tracebacks."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    gc.set_threshold(50_000)  # imports make objects that stay: to collect among them took a sixth of a command's start
    if not debug:
        # The final error has what a hub client logs while it retries. The libraries read this when they are imported.
        for library in ("HF_HUB", "TRANSFORMERS"):
            os.environ.setdefault(f"{library}_VERBOSITY", "error")
    if completion.ASKS in os.environ:
        completion.answer(lambda: app(args=words, prog_name="bench"))
    with reporting_errors(debug):
        return app(args=words, prog_name="bench")


if __name__ == "__main__":
    main()
