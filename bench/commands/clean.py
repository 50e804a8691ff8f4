"""``bench clean``: what runs have left on the disk, and freeing it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from bench.errors import choice


def clean(kinds: Sequence[str], runs_dir: Path, yes: bool) -> None:
    """Print what could be freed, by kind; with ``yes`` delete the ``kinds``, by default the usual ones."""
    from rich.table import Table

    from bench.cache import cache_dir
    from bench.commands.output import console
    from bench.record.leftovers import KINDS, USUAL, free, leftovers

    for kind in kinds:
        choice("kind", kind, KINDS)
    wanted = kinds or USUAL
    found = leftovers(runs_dir)
    table = Table(box=None, pad_edge=False)
    for column, side in (("kind", "left"), ("what", "left"), ("number", "right"), ("MB", "right"), ("", "left")):
        table.add_column(column, justify=side)  # type: ignore[arg-type]
    for kind, what in KINDS.items():
        sizes = [left.size for left in found if left.kind == kind]
        named = "" if kind in wanted else "only when named" if kind not in USUAL else "not named"
        table.add_row(kind, what, str(len(sizes)), _megabytes(sum(sizes)), named)
    console().print(table)
    chosen = [left for left in found if left.kind in wanted]
    size = sum(left.size for left in chosen)
    if not chosen:
        print(f"nothing to free in {runs_dir}")
    elif not yes:
        again = " ".join(["bench clean", *kinds, *([] if runs_dir == Path("runs") else ["--runs-dir", str(runs_dir)])])
        print(f"would free {_megabytes(size)} MB; `{again} --yes` deletes it")
    else:
        freed = [left for left in chosen if free(runs_dir, left)]
        print(f"freed {_megabytes(sum(left.size for left in freed))} MB; all records are kept")
        for left in chosen:
            if left not in freed:
                print(f"left alone: {left.path}: a process is writing this run", file=sys.stderr)
    if shared := cache_dir():
        print(f"what runs share is in {shared}; while no run is in progress you may delete it", file=sys.stderr)


def _megabytes(size: float) -> str:
    return f"{size / 1e6:,.1f}"
