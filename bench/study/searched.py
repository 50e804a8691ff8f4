"""The note of which runs a study made to search, so that comparisons leave them out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.atomic import explain_write_errors
from bench.record.ledger import SEARCHED
from bench.record.store import RunDirectory


def note_searched(directory: Path, runs: Sequence[RunDirectory]) -> None:
    """Note in a study's ``directory`` that ``runs`` are trials."""
    path = directory / SEARCHED
    for run in runs:
        with explain_write_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            known = path.read_bytes() if path.exists() else b""
            if run.run_id.encode() not in known.split(b"\n"):
                torn = b"" if known.endswith(b"\n") or not known else b"\n"  # by a crash
                with path.open("ab", buffering=0) as file:
                    file.write(torn + f"{run.run_id}\n".encode())
