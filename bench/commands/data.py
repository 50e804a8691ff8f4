"""``bench data``: inspect a data set before training on it, get a published one, or make pairs of texts."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench.errors import UserError


def inspect(name: str, encoder: str | None = None, words: Sequence[str] = ()) -> bool:
    """Print the counts, problems and first rows of a data set; returns whether it can be used.

    ``words`` are settings of how it is read, such as ``data.skip_broken=true``. With an ``encoder``, also print what
    that encoder loses of the texts: truncated, unknown, equal after cutting. Raises :class:`UserError` for others.
    """
    from bench.config.overrides import resolve
    from bench.data.inspect import inspect as look
    from bench.data.inspect import render

    if other := [word for word in words if not word.startswith("data.") or word.startswith("data.name=")]:
        raise UserError(
            f"{other[0]}: bench data inspect takes settings of the data only, such as data.skip_broken=true"
        )
    config = replace(resolve(words).data, name=name)
    found = look(config)
    print(render(found))
    if found.ok and encoder is not None:
        from bench.data import load
        from bench.model.config import EncoderConfig
        from bench.run.truncation import describe

        print("\n".join(["", *describe(load(config), EncoderConfig(encoder))]))
    return found.ok


def get(name: str, out: Path, source: Path | None) -> None:
    """Make the data set ``name`` in ``out``, and say whether it is that of the published pages."""
    from bench.data.get import get as make
    from bench.data.sources import SOURCES
    from bench.progress import Display

    with Display() as display:
        made = make(name, out, source, display.task)
    public = SOURCES[name]
    print(f"{made.path}: from {public.repository} at commit {public.commit}, licence: {public.licence}")
    if made.published:
        print(f"This is the data of the published pages (fingerprint {made.fingerprint[:12]}).")
    elif public.ordered:
        missing = f"{made.missing} of its lines are not in the source" if made.missing else "its texts differ"
        print(f"This is NOT the data of the published pages: {missing}. Do not compare it with them.", file=sys.stderr)
    else:
        print(
            "This is another split of the same source: how the published pages drew theirs is not known. Compare "
            "strategies on it, but not with the published rows.",
            file=sys.stderr,
        )
    print(f"next: bench data inspect {made.path}")


def pairs(texts: Sequence[str], out: Path, kind: str, threshold: float | None, by_line: bool) -> None:
    """Make the pseudo-similar pairs of ``texts`` (files, ``-`` for standard input) in ``out``, and say how many."""
    from bench.data.pseudo_pairs import THRESHOLDS, make
    from bench.data.splits import SPLITS
    from bench.progress import Display

    if texts.count("-") > 1:
        raise UserError("standard input (-) can be read once")
    least = THRESHOLDS[kind] if threshold is None else threshold
    files = [(Path("standard input"), sys.stdin.buffer) if name == "-" else (Path(name), None) for name in texts]
    with Display() as display:
        made = make(files, out, least, by_line, display.task)
    shared = ", ".join(f"{split} {number:,}" for split in SPLITS if (number := made.pairs[split]))
    print(f"{out}: {made.pairs.total():,} pairs at least {least:g} similar ({shared})")
    print(f"from {made.documents:,} documents with {made.sentences:,} sentences; left out:")
    for why, number in made.left_out.most_common():
        if number:
            print(f"  {number:>9,} {why}")
    for what, number in made.problems.notices.items():
        print(f"{what} ({number:,})", file=sys.stderr)
    print(f"next: bench data inspect {out}")
