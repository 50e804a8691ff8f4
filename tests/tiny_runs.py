"""The command of a run on the tiny data, how it is killed, and what it left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiny import words_for

from bench.record.record import Record

KILLED = """
import os, signal, sys
from bench.cli import main
from bench.data import load
from bench.progress import Display
def training(self, step, total, rate):
    if step == {step}:
        os.kill(os.getpid(), signal.SIGKILL)
Display.training = training
main(sys.argv[1:])
"""


def words(data: Path, runs: Path, **changes: str) -> list[str]:
    """The command's words; a change is written with ``__`` for the dot, None leaves a word out."""
    settings = words_for(data, runs) | {key.replace("__", "."): word for key, word in changes.items()}
    return ["run", *(f"{key}={word}" for key, word in settings.items())]


def runs_in(root: Path) -> dict[str, Path]:
    """Run directories by id."""
    return {path.name: path for path in sorted(root.iterdir()) if path.name not in ("untrained", "again")}


def only_run(root: Path) -> Path:
    (path,) = runs_in(root).values()
    return path


def record_of(path: Path) -> Record:
    return Record.from_json((path / "record.json").read_text(), path)


def exact(record: Record) -> dict[str, Any]:
    return {name: value for name, value in record.metrics.items() if "exact/" in name}
