"""``bench compare``: compare finished runs, with tests and costs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from bench.atomic import explain_write_errors, write_atomic
from bench.errors import UserError

LEFT_OUT = 3  # records left out that are listed by name


def compare(
    words: Sequence[str],
    runs_dir: Path,
    metric: str | None,
    allowed: Sequence[str],
    everything: bool,
    out: Path | None,
) -> None:
    """Print the comparison of the records that ``words`` select, or write it to the file ``out``."""
    from bench.compare.comparability import ASPECTS
    from bench.compare.comparison import compare
    from bench.compare.per_query import of_runs
    from bench.compare.select import fitting, select
    from bench.record.files import files_at
    from bench.record.ledger import read
    from bench.record.study import final_commands, results_in
    from reports.blocks import Bullets, Section
    from reports.comparison import render
    from reports.markdown import render as as_markdown
    from reports.verdict import verdict

    if unknown := [name for name in allowed if name not in ASPECTS]:
        raise UserError(f"--allow {unknown[0]}: only {', '.join(ASPECTS)} can be allowed to differ")
    ledger = read(runs_dir)
    for path, why in ledger.skipped[:LEFT_OUT]:
        print(f"left out: {path}: {why}", file=sys.stderr)
    if (more := len(ledger.skipped) - LEFT_OUT) > 0:
        print(f"left out: {more} more; bench report lists them", file=sys.stderr)
    if ledger.searched:
        print(f"left out: trials of studies' searches ({len(ledger.searched)})", file=sys.stderr)
    if ledger.awaited:
        print(f"left out: jobs on their way ({ledger.awaited}); bench list runs shows them", file=sys.stderr)
    chosen = select(ledger.records, words)
    if failed := len(fitting(ledger.failed, *words)):
        print(f"left out: failed runs ({failed}); bench report lists them", file=sys.stderr)
    results, _ = results_in(files_at(runs_dir))
    finals = {command for told in results.values() for command in final_commands(told)}
    if 0 < (studied := sum(record.command in finals for record in chosen)) < len(chosen):
        print(
            f"{studied} of {len(chosen)} runs are final runs of a study, which may have searched their settings; "
            "bench report compares them apart",
            file=sys.stderr,
        )
    compared = compare(chosen, of_runs(runs_dir), metric, allowed)
    baseline = "in_batch"
    advice = Section("Which to use", (Bullets(verdict(compared, baseline)),))
    text = as_markdown([render(compared, everything, baseline), advice]) + "\n"
    if out is None:
        print(text, end="")
        return
    with explain_write_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, text.encode())
    print(out)
