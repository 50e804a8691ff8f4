"""Random passages of the corpus in a group with the positive, as in FlagEmbedding."""

from __future__ import annotations

from dataclasses import dataclass

from strategies.base import Strategy, knob, register
from strategies.batch import Batch, Loss
from strategies.losses import cross_entropy
from strategies.negatives import InBatch, Negatives, RandomGlobal


@register("random_global")
@dataclass(frozen=True)
class RandomGlobalNegatives(Strategy):
    """Cross-entropy of the positive against random passages of the corpus and the rest of the batch.

    ``L_i = -log( exp(s c_ip) / sum_j exp(s c_ij) )`` over all groups' passages, or with ``local`` over the
    query's own group alone. A group is the positive and ``group - 1`` random passages. They are drawn at every
    step: from the whole corpus, or from ``pool`` passages that are chosen once for each query. A group of 1
    at scale 20 equals :class:`strategies.mnr.MultipleNegativesRanking`.

    Source: FlagEmbedding's embedder (temperature 0.02, ``train_group_size`` 8); "neg10" and "neg50" in
    JieShenAI's article on it are ``pool=10`` and ``pool=50`` (BERT base on 5,584 queries: Recall@1 83.17 and
    83.24, a difference of one query in 1,396). A pool's size changes how many different passages a query meets
    in training, not how many a step has.

    Published with: temperature 0.02, groups of 8, batches of 4 queries, learning rate 1e-5, 3 epochs (the article).
    """

    scale: float = knob(50.0, low=5.0, high=100.0, log=True, source="FlagEmbedding temperature 0.02")
    group: int = knob(8, low=2, high=16, log=True, least=1, source="FlagEmbedding train_group_size")
    pool: int | None = knob(None, least=1, source="neg10 and neg50 of JieShenAI's article")
    local: bool = knob(False, choices=(False, True), source="FlagEmbedding no_in_batch_neg")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.local and self.group == 1:
            raise ValueError("strategy.local=true with strategy.group=1 leaves no negative")

    @property
    def negatives(self) -> Negatives:
        return RandomGlobal(self.group - 1, self.pool) if self.group > 1 else InBatch()

    def loss(self, batch: Batch) -> Loss:
        return Loss(cross_entropy(batch, self.scale, local=self.local))
