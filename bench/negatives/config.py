"""What can be set about mining."""

from __future__ import annotations

from dataclasses import dataclass

from bench.errors import at_least


@dataclass(frozen=True)
class MiningConfig:
    """How mining may go about its work and who watches it; what is trained does not depend on it.

    ``memory_mb`` bounds the scores that are held at once, in MiB, beside the embeddings themselves. ``judge``
    names an encoder (``start``: the run's own before training) that estimates, in the telemetry alone, which
    unlabelled negatives answer the query, for every strategy that has no guide of its own.
    """

    memory_mb: int = 512
    judge: str | None = None

    def __post_init__(self) -> None:
        at_least("mining.memory_mb", self.memory_mb, 1)
