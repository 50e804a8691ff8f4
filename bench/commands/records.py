"""``bench records``: finished runs in a form to publish."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from bench.atomic import explain_write_errors, write_atomic
from bench.errors import UserError, nearest
from bench.record.ledger import Ledger
from bench.record.pack import Items
from bench.record.record import Record


def pack(words: Sequence[str], runs_dir: Path, out: Path, studies: bool, items: Items) -> None:
    """Write the runs that ``words`` choose (ids, or filters of settings; without any all) into the directory ``out``.

    A study goes with them when all of its final runs do; with ``studies`` every study goes, and its final runs too.
    """
    from bench.record import archive
    from bench.record.files import files_at
    from bench.record.ledger import read
    from bench.record.pack import complete_studies, final_runs
    from bench.record.pack import pack as packed

    ledger, files = read(runs_dir), files_at(runs_dir)
    chosen = {record.run_id: record for record in _chosen(ledger, words, runs_dir)}
    if studies:
        wanted = {command for finals in final_runs(files).values() for command in finals}
        chosen |= {record.run_id: record for record in ledger.records if record.command in wanted}
    complete, partial = complete_studies(files, (record.command for record in chosen.values()))
    for name, missing in partial.items():
        what = f"final runs that are not packed: {len(missing)}, such as `{missing[0]}`"
        print(f"left out: study {name}: {what}", file=sys.stderr)
    if next(out.glob("*/record.json"), None) is not None:
        raise UserError(f"{out} is a directory of runs, which a pack would hide; give another --out")
    content, damaged = packed(files, chosen.values(), complete, items)
    for place, why in damaged:
        print(f"left out: {place}: {why}", file=sys.stderr)
    with explain_write_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    path = out / archive.NAME
    write_atomic(path, content)
    counts = f"{len(chosen)} runs, {len(complete)} studies, {len(content) / 2**10:,.0f} KiB"
    print(f"{path}: {counts}")


def _chosen(ledger: Ledger, words: Sequence[str], runs_dir: Path) -> list[Record]:
    """The records of the ids among ``words``, or else all but studies' trials; of these those that the filters fit."""
    from bench.compare.select import select

    ids, filters = [w for w in words if "=" not in w], [w for w in words if "=" in w]
    known = {record.run_id: record for record in (*ledger.records, *ledger.searched)}
    for run_id in ids:
        if run_id not in known:
            why = next((why for path, why in ledger.skipped if path.parent.name == run_id), None)
            why = "the run failed" if any(record.run_id == run_id for record in ledger.failed) else why
            raise UserError(
                f"{runs_dir / run_id} cannot be packed: {why}"
                if why
                else f"{runs_dir} has no finished run {run_id!r}{nearest(run_id, known)}"
            )
    found = select([known[run_id] for run_id in ids] if ids else ledger.records, filters)
    if not found:
        raise UserError(f"{runs_dir} holds no finished run; run something first: bench run strategy=hardest_neg")
    return found
