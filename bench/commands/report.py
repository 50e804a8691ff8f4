"""``bench report``: all finished runs as one report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench.errors import UserError, nearest


def report(words: Sequence[str], runs_dir: Path, out: Path | None, metric: str | None, against: str) -> None:
    """Print the report of the finished runs that ``words`` select, or write page, Markdown and figures into ``out``.

    A study is reported when a final run of it is.
    """
    from bench.compare.select import fitting, select
    from bench.record.ledger import read
    from reports.report import build, text, write
    from strategies import registered

    ledger = read(runs_dir)
    if not ledger.records and not ledger.skipped and not ledger.failed:
        raise UserError(f"{runs_dir} has no finished run; make one first: bench run strategy=hardest_neg")
    if words:
        ledger = replace(ledger, records=select(ledger.records, words), failed=fitting(ledger.failed, *words))
    known = {*registered(), *(record.strategy for record in ledger.records)}
    if against not in known:
        raise UserError(f"--against {against}: there is no such strategy{nearest(against, known)}")
    if out is None:
        print(text(build(ledger, runs_dir, metric, against)), end="")
    else:
        print(write(ledger, runs_dir, out, metric, against))
