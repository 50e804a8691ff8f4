"""In-batch negatives with a margin on the positive, as in PaddleNLP's literature search."""

from __future__ import annotations

from dataclasses import dataclass

from strategies.base import Strategy, knob, register
from strategies.batch import Batch, Loss
from strategies.losses import cross_entropy


@register("in_batch")
@dataclass(frozen=True)
class InBatchNegatives(Strategy):
    """Cross-entropy of the positive against the other passages of the batch, with a margin on the positive.

    ``L_i = -log( exp(s(c_ii - m)) / (exp(s(c_ii - m)) + sum_{j != i} exp(s c_ij)) )`` over cosines, query to
    passage only. With ``margin=0, scale=20`` it equals :class:`strategies.mnr.MultipleNegativesRanking`.

    Source: PaddleNLP ``neural_search/recall/in_batch_negative`` (ERNIE 1.0, 3,998 pairs, 300,000 passages:
    Recall@1 51.301, Recall@50 78.881; rocketqa-zh: 59.622 and 87.773). Unlike there, passages labelled
    relevant to a query are never its negatives, and a passage drawn twice counts once.

    Published with: scale 30, margin 0.2, batches of 64 on each of 4 GPUs that do not exchange passages, learning rate
    5e-5, 3 epochs, 64 tokens, vectors of 256.
    """

    scale: float = knob(30.0, low=5.0, high=100.0, log=True, source="PaddleNLP train_batch_neg.py --scale")
    margin: float = knob(0.2, low=0.0, high=0.5, source="PaddleNLP train_batch_neg.py --margin")

    def loss(self, batch: Batch) -> Loss:
        return Loss(cross_entropy(batch, self.scale, self.margin))
