"""All runs of a directory, read from their records."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.errors import UserError
from bench.record.record import Record, RecordError
from bench.record.store import RunDirectory


@dataclass(frozen=True)
class Ledger:
    """Finished runs in order of their id, and the runs that were left out with the reason."""

    records: list[Record]
    skipped: list[tuple[Path, str]]


def read(runs_dir: Path) -> Ledger:
    """Read every finished record under ``runs_dir``.

    A run that is still going or was killed before its first record is passed over. A broken record, one that
    lies in another run's directory and a failed run are skipped and named. Raises :class:`UserError` when
    there is no such directory.
    """
    if not runs_dir.is_dir():
        raise UserError(f"no runs at {runs_dir}: `bench run` makes them, --runs-dir says where they are")
    ledger = Ledger([], [])
    for path in sorted(runs_dir.glob("*/record.json")):
        run = RunDirectory(runs_dir, path.parent.name)
        try:
            record = run.read_record()
        except RecordError as error:
            ledger.skipped.append((path, str(error).removeprefix(f"{path}: ")))
            continue
        if record.run_id != run.run_id:
            ledger.skipped.append((path, f"is the record of run {record.run_id}"))
        elif record.status == "failed":
            ledger.skipped.append((path, f"the run failed: {record.error or 'no reason recorded'}"))
        elif record.status == "finished":
            ledger.records.append(record)
    return ledger
