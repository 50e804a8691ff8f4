"""``bench data``: inspect a data set before training on it, or make a published one from its source."""

from __future__ import annotations

import sys
from pathlib import Path


def inspect(name: str, encoder: str | None = None) -> bool:
    """Print the counts and problems of a data set; returns whether it can be used.

    With an ``encoder``, also print how many texts that encoder would truncate.
    """
    from bench.data.inspect import inspect as look
    from bench.data.inspect import render

    found = look(name)
    print(render(found))
    if found.ok and encoder is not None:
        from bench.data import DataConfig, load
        from bench.model.config import EncoderConfig
        from bench.run.truncation import describe

        print("\n".join(["", *describe(load(DataConfig(name)), EncoderConfig(encoder))]))
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
