"""What finished runs leave on the disk that no record needs: what it is, how large, and deleting it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.atomic import explain_write_errors
from bench.errors import UserError
from bench.record.files import DirectoryFiles
from bench.record.ledger import searched_in
from bench.record.record import Record
from bench.record.store import RunDirectory, RunLocked

KINDS = {
    "checkpoints": "checkpoints of runs that have ended",
    "trials": "weights of studies' trials (not of those with keep=all)",
    "wandb": "W&B logs that were sent",
    "weights": "weights of all other finished runs",
}
"""The kinds of leftovers by name; of those the last is freed only when it is named."""
USUAL = ("checkpoints", "trials", "wandb")
_ENDED = ("finished", "pruned")


@dataclass(frozen=True)
class Leftover:
    """A directory ``path`` of ``size`` bytes that run ``run_id`` has left."""

    kind: str
    run_id: str
    path: Path
    size: int


def leftovers(runs_dir: Path) -> list[Leftover]:
    """All that could be deleted under ``runs_dir``; nothing of a run that is unfinished or locked by a process.

    Raises :class:`UserError` when there is no such directory.
    """
    if not runs_dir.is_dir():
        raise UserError(f"no runs at {runs_dir}; give their directory as --runs-dir")
    searched, _ = searched_in(DirectoryFiles(runs_dir))
    found: list[Leftover] = []
    for path in sorted(runs_dir.glob("*/record.json")):
        run = RunDirectory(runs_dir, path.parent.name)
        record = _ended(run)
        if record is None or run.held:
            continue
        tried = run.run_id in searched and record.config.get("keep") != "all"
        found += _sized("checkpoints", run.run_id, run.checkpoints)
        for folder in (run.model, run.head):
            found += _sized("trials" if tried else "weights", run.run_id, folder)
    for sent in sorted(runs_dir.glob("wandb/offline-run-*/*.wandb.synced")):
        folder = sent.parent
        run = RunDirectory(runs_dir, folder.name.removeprefix("offline-run-").partition("-")[2])
        if not run.held:
            found += _sized("wandb", run.run_id, folder)
    return found


def free(runs_dir: Path, left: Leftover) -> bool:
    """Delete a leftover; False where a process has begun to write its run. Raises :class:`UserError` if it cannot."""
    if not (runs_dir / left.run_id).is_dir():  # a log of a run that is no longer there
        _delete(left.path)
        return True
    try:
        with RunDirectory.open(runs_dir, left.run_id) as run:
            if left.kind != "wandb" and _ended(run) is None:
                return False
            _delete(left.path)
            return True
    except RunLocked:
        return False


def _ended(run: RunDirectory) -> Record | None:
    """The record of a run that needs no checkpoint any more."""
    try:
        record = run.read_record()
    except (FileNotFoundError, UserError):
        return None
    return record if record.status in _ENDED else None


def _sized(kind: str, run_id: str, path: Path) -> Iterator[Leftover]:
    if path.is_dir() and not path.is_symlink():
        files = [file for file in path.rglob("*") if file.is_file() and not file.is_symlink()]
        yield Leftover(kind, run_id, path, sum(file.stat().st_size for file in files))


def _delete(path: Path) -> None:
    with explain_write_errors(path):
        shutil.rmtree(path)
