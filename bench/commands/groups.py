"""The commands that stand in groups, ``bench new ...`` and ``bench records ...``; their imports are inside them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.commands import completion

RunsDir = Annotated[Path, typer.Option(help="The directory of the runs, or of their pack.")]

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
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """Pack finished runs into one small file that report and compare read like the runs: no texts, no weights."""
    from bench.commands.records import pack

    pack(words or [], runs_dir, out, studies)
