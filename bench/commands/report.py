"""``bench report``: all finished runs as one report."""

from __future__ import annotations

from pathlib import Path

from bench.errors import UserError, nearest


def report(runs_dir: Path, out: Path | None, metric: str | None, against: str) -> None:
    """Print the report of all finished runs as Markdown, or write page, Markdown and figures into ``out``."""
    from bench.record.ledger import read
    from reports.report import build, text, write
    from strategies import registered

    ledger = read(runs_dir)
    if not ledger.records and not ledger.skipped:
        raise UserError(f"{runs_dir} has no finished run; make one first: bench run strategy=hardest_neg")
    known = {*registered(), *(record.strategy for record in ledger.records)}
    if against not in known:
        raise UserError(f"--against {against}: there is no such strategy{nearest(against, known)}")
    if out is None:
        print(text(build(ledger, runs_dir, metric, against)), end="")
    else:
        print(write(ledger, runs_dir, out, metric, against))
