"""``bench list runs``: every run of a directory with its state, jobs of a cluster included."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.table import Table

from bench.commands.output import console
from bench.errors import UserError
from bench.record.jobs import log_of
from bench.record.ledger import read
from bench.record.record import Record
from bench.record.store import RunDirectory


def list_runs(runs_dir: Path) -> None:
    """Print a row for each run: its state, its job if it has one that has not ended, and its metric or what to read."""
    ledger = read(runs_dir)
    table = Table(box=None, pad_edge=False)
    for column in ("run", "state", "job", ""):
        table.add_column(column, overflow="fold")
    ended = (*ledger.records, *ledger.searched)
    rows = [(record.run_id, "finished", "", _result(record)) for record in ended if record.invalid is None]
    rows += [(record.run_id, "invalid", "", record.invalid) for record in ended if record.invalid]
    rows += [(record.run_id, "failed", "", (record.error or "").partition("\n")[0]) for record in ledger.failed]
    rows += [(run_id, *_unfinished(RunDirectory(runs_dir, run_id))) for run_id in ledger.unfinished]
    for job, state in ledger.submitted:
        log = "" if state == "pending" else str(log_of(runs_dir, job))
        told = {"ended": "stopped", "unknown": "submitted"}.get(state, state)
        rows.append((job.run_id, told, job.job_id, f"no record; {log}" if state == "ended" else log))
    for row in sorted(rows):
        table.add_row(*row)
    console().print(table)
    for path, why in ledger.skipped:
        print(f"left out: {path}: {why}", file=sys.stderr)


def _unfinished(run: RunDirectory) -> tuple[str, str, str]:
    """The state of a run without a record, no job, and how far it is."""
    state = "running" if run.held else "interrupted"
    try:
        step = max((event.get("step", 0) for event in run.history()), default=0)
    except UserError as error:
        return state, "", str(error)
    goes_on = "" if run.held else "; its command continues it"
    return state, "", f"step {step}{goes_on}" if step else ""


def _result(record: Record) -> str:
    metric = record.evaluation_schema.headline
    value = record.metrics.get(metric)
    return "" if value is None else f"{metric} {value:.2f}"
