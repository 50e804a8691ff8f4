"""One random passage for each query: PaddleNLP's "Baseline"."""

from __future__ import annotations

from dataclasses import dataclass

from strategies.base import Strategy, knob, register
from strategies.batch import Batch, Loss
from strategies.losses import own_hinge
from strategies.negatives import Negatives, RandomGlobal


@register("random_pairwise")
@dataclass(frozen=True)
class RandomPairwise(Strategy):
    """Hinge between a query's positive and one random passage of the corpus.

    ``L_i = max(0, c_in - c_ip + m)`` over cosines. The batch's other passages are not used.

    Source: PaddleNLP's "Baseline: pair-wise, random negatives", which is described but has no published
    code (literature search, ERNIE 1.0: Recall@1 30.077, Recall@50 59.632; semantic indexing: Recall@10
    46.99).

    Published with: no stated setting. The default margin is that of its sibling ``hardest_negative``.
    """

    margin: float = knob(0.2, low=0.0, high=0.5, source="PaddleNLP hardest_negative --margin")

    @property
    def negatives(self) -> Negatives:
        return RandomGlobal(1)

    def loss(self, batch: Batch) -> Loss:
        return Loss(own_hinge(batch, self.margin))
