"""``bench data``: inspect a data set before training on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bench.errors import UserError


def inspect(name: str, encoder: str | None = None, words: Sequence[str] = ()) -> bool:
    """Print the counts, problems and first rows of a data set; returns whether it can be used.

    ``words`` are settings of how it is read, such as ``data.skip_broken=true``. With an ``encoder``, also print how
    many texts that encoder would truncate. Raises :class:`UserError` for other settings.
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
