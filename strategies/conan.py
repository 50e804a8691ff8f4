"""Hard negatives that are replaced when they have become easy."""

from __future__ import annotations

from dataclasses import dataclass

from strategies.base import Strategy, knob, register
from strategies.batch import Batch, Loss
from strategies.losses import cross_entropy
from strategies.negatives import Negatives, Replaced


@register("conan")
@dataclass(frozen=True)
class Conan(Strategy):
    """Cross-entropy against mined passages that make way for the next ones once the model scores them much lower.

    ``L_i = -log( exp(s c_ip) / sum_j exp(s c_ij) )`` over the passages of the batch. A query keeps its ``n`` negatives:
    at first the highest of the ranks ``first`` to ``last`` of the encoder before training. Every ``refresh`` steps the
    model scores them. Where their mean ``m_i`` has ``factor m_i < m0_i``, the mean they had when they were chosen, and
    ``|m_i| < limit``, the next ``n`` ranks replace them. First means that are not above 0 are left alone, since the
    factor would then replace what has not changed. The search is not repeated, unlike in
    :class:`strategies.ance.ANCE`: only queries and their negatives are encoded.

    A run of at most ``refresh`` steps would replace none, and is refused.

    Source: Conan-embedding (Li et al. 2024), section 2.2. It says neither with which negatives training begins nor how
    many a query has. Here they are the first ``n`` of its ranks, so the first replacement has the next ``n``, and ``n``
    is that of :class:`strategies.mined_hard.MinedHard`. That the mean of the new ones becomes the first mean is this
    project's reading.

    Published with: means every 100 steps, factor 1.15, limit 0.8, the i-th replacement from ranks
    10 + (i - 1) n to 10 + i n.
    """

    scale: float = knob(50.0, low=5.0, high=100.0, log=True, source="FlagEmbedding temperature 0.02")
    n: int = knob(7, low=1, high=15, log=True, least=1, source="this project, as mined_hard")
    first: int = knob(10, low=0, high=50, least=0, source="Conan-embedding: from rank 10")
    last: int = knob(210, low=80, high=500, log=True, least=1, source="this project, as mined_hard")
    refresh: int = knob(
        100, low=25, high=400, log=True, least=1, counts_steps=True, source="Conan-embedding: 100 steps"
    )
    factor: float = knob(1.15, low=1.0, high=1.5, log=True, source="Conan-embedding: 1.15")
    limit: float = knob(0.8, low=0.4, high=1.0, least=0, source="Conan-embedding: 0.8")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.last - self.first < 2 * self.n:
            raise ValueError(
                f"strategy.first={self.first} and strategy.last={self.last} leave {max(0, self.last - self.first)} "
                f"ranks for strategy.n={self.n} negatives and as many that replace them"
            )

    @property
    def negatives(self) -> Negatives:
        return Replaced(
            self.n, first=self.first, last=self.last, refresh=self.refresh, factor=self.factor, limit=self.limit
        )

    def loss(self, batch: Batch) -> Loss:
        return Loss(cross_entropy(batch, self.scale))
