"""``bench export``: an encoder as a directory that other programs load."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bench.commands.embed import Model
from bench.commands.groups import RunsDir

app = typer.Typer()


class To(StrEnum):
    """What an encoder can be exported to."""

    sentence_transformers = "sentence-transformers"
    onnx = "onnx"


@app.command(epilog="Example: bench export in_batch-docs-s1-8c84c7be --to onnx --int8 --out exported")
def export(
    model: Model,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The directory to make; it must not hold anything.")],
    to: Annotated[To, typer.Option(help="For whom.")] = To.sentence_transformers,
    int8: Annotated[
        bool, typer.Option("--int8", help="Of onnx: weights of eight bits; the card says what is lost.")
    ] = False,
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """Export an encoder with a model card, and check that the export gives the same vectors."""
    from bench.commands.output import show_logs
    from bench.progress import Display
    from bench.use.export import Original, Target, check
    from bench.use.export import export as write

    show_logs()
    check(Target(to.value), int8)
    with Display() as display:
        original = Original.load(model, runs_dir)
        write(original, Target(to.value), out, int8, display.task)
    print(out)
