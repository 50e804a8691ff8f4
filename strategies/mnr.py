"""Multiple negatives ranking, as in Sentence Transformers."""

from __future__ import annotations

from dataclasses import dataclass

from strategies.base import Strategy, knob, register
from strategies.batch import Batch, Loss
from strategies.losses import cross_entropy


@register("mnr")
@dataclass(frozen=True)
class MultipleNegativesRanking(Strategy):
    """Cross-entropy of the positive against the other passages of the batch.

    ``L_i = -log( exp(s c_ii) / sum_j exp(s c_ij) )`` over cosines, query to passage.
    :class:`strategies.in_batch.InBatchNegatives` adds a margin to it.

    Source: Sentence Transformers ``MultipleNegativesRankingLoss`` (scale 20, that is temperature 0.05;
    nli-mpnet-base-v2 on the STS benchmark: Spearman 86.53). Unlike upstream, passages labelled relevant to a
    query are never its negatives, and a passage drawn twice counts once.
    """

    scale: float = knob(20.0, low=5.0, high=100.0, log=True, source="sentence-transformers MNR scale")

    def loss(self, batch: Batch) -> Loss:
        return Loss(cross_entropy(batch, self.scale))
