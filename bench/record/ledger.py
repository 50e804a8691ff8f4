"""All runs of a directory or a pack, read from their records."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from bench.errors import UserError
from bench.record.files import RecordFiles, files_at
from bench.record.jobs import JOBS, Job, State, jobs_in, states
from bench.record.record import Record, RecordError

SEARCHED = "searched.txt"  # in a study's directory: the ids of the runs that it makes to search, a line each


@dataclass(frozen=True)
class Ledger:
    """Finished runs in order of their id, and what was left out: damaged files with the reason, and failed runs.

    ``searched`` are finished runs that were trials of a study, which no comparison includes. ``submitted`` are the
    cluster's jobs of runs that have not ended: pending, running, or gone without a record. ``unfinished`` are the ids
    of other runs without a record: in progress, or interrupted.
    """

    records: list[Record]
    skipped: list[tuple[Path, str]]
    searched: list[Record]
    failed: list[Record]
    submitted: list[tuple[Job, State]] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)

    @property
    def awaited(self) -> int:
        """How many runs are pending or running as jobs of a cluster."""
        return sum(state in ("pending", "running") for _, state in self.submitted)


def read(runs_dir: Path) -> Ledger:
    """Read every record under ``runs_dir``.

    A broken record, one that lies in another run's directory and one without a metric are skipped and named. Raises
    :class:`UserError` when there is no such directory, and for a pack that is broken or of a later version.
    """
    if runs_dir.is_file():
        raise UserError(f"{runs_dir} is a file; give the directory that holds it as --runs-dir")
    if not runs_dir.is_dir():
        raise UserError(f"no runs at {runs_dir}: make some with `bench run`, or give their directory as --runs-dir")
    if (runs_dir / "record.json").is_file():
        raise UserError(f"{runs_dir} is a single run; give the directory of all runs, {runs_dir.parent}")
    files = files_at(runs_dir)
    searched, unreadable = searched_in(files)
    ledger = Ledger([], unreadable, [], [])
    recorded = files.names("*/record.json")
    for name in recorded:
        path = runs_dir / name
        try:
            record = files.record(path.parent.name)
        except RecordError as error:
            ledger.skipped.append((path, str(error).removeprefix(f"{path}: ")))
            continue
        if record.run_id != path.parent.name:
            ledger.skipped.append((path, f"is the record of run {record.run_id}"))
        elif record.status == "failed":
            ledger.failed.append(record)
        elif record.status != "finished":
            continue
        elif lost := _lost(record):
            ledger.skipped.append((path, f"has no {lost}"))
        else:
            (ledger.searched if record.run_id in searched else ledger.records).append(record)
    _add_submitted(ledger, runs_dir)
    begun = {name.partition("/")[0] for name in files.names("*/config.yaml")}
    told = {name.partition("/")[0] for name in recorded} | {job.run_id for job, _ in ledger.submitted}
    ledger.unfinished.extend(sorted(begun - told))
    return ledger


def _add_submitted(ledger: Ledger, runs_dir: Path) -> None:
    """Add the jobs of unfinished runs; a failed run whose job is on its way again is no longer a failed one."""
    done = {record.run_id for record in (*ledger.records, *ledger.searched)}
    try:
        jobs = [job for job in jobs_in(runs_dir) if job.run_id not in done]
    except UserError as error:
        ledger.skipped.append((runs_dir / JOBS, str(error)))
        return
    found = states(runs_dir, jobs)
    failed = {record.run_id for record in ledger.failed}
    ledger.submitted.extend(
        (job, found[job.run_id]) for job in jobs if job.run_id not in failed or found[job.run_id] != "ended"
    )
    again = {job.run_id for job, state in ledger.submitted if state != "unknown"}
    ledger.failed[:] = [record for record in ledger.failed if record.run_id not in again]


def _lost(record: Record) -> str | None:
    """A metric that every finished run of these settings has, and the record lacks."""
    if all(value is None for value in record.metrics.values()):
        return "metric"
    curve, cut_offs = record.evaluation_schema.curve, record.config.get("eval", {}).get("ks", ())
    names = [f"{curve}@{k}" for k in cut_offs] if curve is not None and isinstance(cut_offs, list | tuple) else []
    return next((name for name in names if record.metrics.get(name) is None), None)


def searched_in(files: RecordFiles) -> tuple[set[str], list[tuple[Path, str]]]:
    """Ids of the runs that are trials of studies among the files, and the lists that cannot be read."""
    found: set[str] = set()
    skipped = []
    for name in files.names(f"studies/*/{SEARCHED}"):
        try:
            found.update(files.read(name).decode("ascii").split())
        except (OSError, ValueError) as error:
            why = f"cannot be read ({error}); the trials of this study are not known, and stand among the runs"
            skipped.append((files.root / name, why))
    return found, skipped
