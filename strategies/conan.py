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
    """Cross-entropy against mined passages, each of which is replaced once the model scores it much lower.

    ``L_i = -log( exp(s c_ip) / sum_j exp(s c_ij) )`` over the passages of the batch. A query keeps its ``n`` negatives:
    at first the highest of the ranks ``first`` to ``last`` of the encoder before training. Every ``refresh`` steps the
    model scores them. A negative ``j`` with ``factor c_ij < c0_ij``, its first score, makes way for the next rank. The
    search is not repeated, unlike in :class:`strategies.ance.ANCE`: only queries and their negatives are encoded.

    A run of at most ``refresh`` steps would replace none, and is refused.

    Source: Conan-embedding (Li et al. 2024). The defaults that it does not give are those of
    :class:`strategies.mined_hard.MinedHard`.

    Published with: scores every 100 steps, factor 1.15.
    """

    scale: float = knob(50.0, low=5.0, high=100.0, log=True, source="FlagEmbedding temperature 0.02")
    n: int = knob(7, low=1, high=15, log=True, least=1, source="this project, as mined_hard")
    first: int = knob(10, low=0, high=50, least=0, source="this project, as mined_hard")
    last: int = knob(210, low=66, high=500, log=True, least=1, source="this project, as mined_hard")
    refresh: int = knob(
        100, low=25, high=400, log=True, least=1, counts_steps=True, source="Conan-embedding: 100 steps"
    )
    factor: float = knob(1.15, low=1.0, high=1.5, log=True, source="Conan-embedding: 1.15")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.last - self.first <= self.n:
            raise ValueError(
                f"strategy.first={self.first} and strategy.last={self.last} leave {max(0, self.last - self.first)} "
                f"ranks for strategy.n={self.n} negatives and those that replace them"
            )

    @property
    def negatives(self) -> Negatives:
        return Replaced(self.n, first=self.first, last=self.last, refresh=self.refresh, factor=self.factor)

    def loss(self, batch: Batch) -> Loss:
        return Loss(cross_entropy(batch, self.scale))
