"""Artefacts of the cache that all ranks make together: each does a part of the work, and the first one keeps it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.atomic import explain_write_errors
from bench.cache import Cache, Entry
from bench.world import World

Make = Callable[[Path, World], Mapping[str, Any]]
"""Writes an entry's files into an empty directory and returns facts about them; called on every rank of the world.

Only what the first rank writes and returns is kept.
"""


def made_together(cache: Cache, name: str, make: Make, world: World) -> Entry:
    """The entry ``name`` on every rank, all of which call this. The first one looks for it, waits for it and keeps it.

    A rank that does not see the first one's cache makes the entry once more, alone. Raises :class:`UserError` when the
    disk refuses to keep it.
    """
    if world.size == 1:
        return cache.entry(name, lambda place: make(place, world))
    if not world.first:
        if world.broadcast(False):
            with TemporaryDirectory(prefix="negbench-") as place:
                make(Path(place), world)
        world.broadcast(None)  # nobody reads it before it is there
        return cache.entry(name, lambda place: make(place, World()))
    asked = False

    def ask(place: Path) -> Mapping[str, Any]:
        nonlocal asked
        asked = True
        world.broadcast(True)
        with explain_write_errors(place):  # no second try elsewhere: the others are in the middle of this one
            return make(place, world)

    found = cache.entry(name, ask)
    if not asked:
        world.broadcast(False)
    world.broadcast(None)
    return found
