"""Settings of mining."""

from __future__ import annotations

from dataclasses import dataclass

from bench.errors import at_least
from bench.setting import Name


@dataclass(frozen=True)
class MiningConfig:
    """Resources of mining, and a judge for telemetry; training results do not depend on them.

    ``memory_mb`` bounds the scores in memory at once, in MiB, not counting the embeddings. ``judge``
    names an encoder (``start``: the run's own before training) that estimates, in the telemetry alone, which
    unlabelled negatives answer the query, for every strategy that has no guide of its own.
    """

    memory_mb: int = 512
    judge: Name | None = None

    def __post_init__(self) -> None:
        at_least("mining.memory_mb", self.memory_mb, 1)
