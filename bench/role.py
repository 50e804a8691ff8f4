"""What a run is part of, and who may end it early."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


class Pruned(Exception):
    """Whoever watches a run has seen enough: it ends where it is, without a result."""


@dataclass(frozen=True)
class Role:
    """What a run is part of: W&B's group (by default the strategy) and job type, and who watches.

    ``watch`` is told the step and the metrics of each dev evaluation while training, and may raise :class:`Pruned`.
    """

    group: str | None = None
    job_type: str = "train"
    watch: Callable[[int, dict[str, float]], None] = lambda step, metrics: None


ALONE = Role()
