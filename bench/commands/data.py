"""``bench data``: inspect a data set before training on it."""

from __future__ import annotations


def inspect(name: str, encoder: str | None = None) -> bool:
    """Print the counts and problems of a data set; returns whether it can be used.

    With an ``encoder``, also print what that encoder loses of the texts: truncated, unknown, equal after cutting.
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
