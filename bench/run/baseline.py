"""Metrics of encoders before training, measured once for all runs that start from the same weights."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.cache import Cache
from bench.record.record import Metrics
from bench.record.serialize import canonical, serialize
from bench.together import made_together
from bench.world import World


def baseline(cache: Cache, key: Any, measure: Callable[[], Metrics], world: World) -> Metrics:
    """The metrics for ``key`` (weights, data, encoder, evaluation), from the cache or else measured.

    Metrics are percentages by name. ``measure`` is called on all ranks of ``world``, and the first one's are kept.
    Raises :class:`UserError` when the disk refuses.
    """

    def make(place: Path) -> dict[str, Any]:
        return {"metrics": serialize(measure())}

    digest = hashlib.sha256(canonical(key).encode()).hexdigest()[:24]
    found: Metrics = made_together(cache, f"baseline-{digest}", make, world).facts["metrics"]
    return found
