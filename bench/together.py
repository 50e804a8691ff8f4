"""Artefacts of the cache that all ranks make together: each does a part of the work, and the first one keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.atomic import explain_write_errors
from bench.cache import Cache, Entry, Make
from bench.errors import UserError
from bench.world import World


def made_together(cache: Cache, name: str, make: Make, world: World) -> Entry:
    """The entry ``name`` on every rank, all of which call this. The first one looks for it, waits for it and keeps it.

    ``make`` is called on every rank or on none; what another than the first one writes and returns is thrown away.
    Raises :class:`UserError` when the disk refuses to keep the entry, and on a rank that cannot read it.
    """
    if world.size == 1:
        return cache.entry(name, make)
    if not world.first:
        if world.broadcast(False):
            with TemporaryDirectory(prefix="negbench-") as place:
                make(Path(place))
        found: Entry = world.broadcast(Entry(Path(), {}))
        if not found.path.is_dir():
            raise UserError(
                f"rank {world.rank} does not see {found.path}; machines that train together need a common file "
                "system for runs_dir and for the cache (NEGBENCH_CACHE)"
            )
        return found
    asked = False

    def ask(place: Path) -> Mapping[str, Any]:
        nonlocal asked
        asked = True
        world.broadcast(True)
        with explain_write_errors(place):  # no second try elsewhere: the others are in the middle of this one
            return make(place)

    entry = cache.entry(name, ask)
    if not asked:
        world.broadcast(False)
    return world.broadcast(entry)
