"""Multiple negatives ranking, as in Sentence Transformers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from strategies.base import Strategy, knob, register
from strategies.batch import Batch, Loss
from strategies.losses import contrast, cross_entropy, only
from strategies.negatives import InBatch, Negatives, Provided

SIDES = ("p2q", "q2q", "p2p")
DIRECTIONS = tuple(
    "+".join(["q2p", *(side for bit, side in enumerate(SIDES) if number >> bit & 1)]) for number in range(8)
)


@register("mnr")
@dataclass(frozen=True)
class MultipleNegativesRanking(Strategy):
    """Cross-entropy of the positive against the other passages of the batch.

    ``L_i = -log( exp(s c_ii) / sum_j exp(s c_ij) )`` over cosines, query to passage.
    :class:`strategies.in_batch.InBatchNegatives` adds a margin to it.

    ``directions`` adds terms to the denominator: the positive with the other queries (``p2q``), the query with
    the other queries (``q2q``), the positive with the other passages (``p2p``). All four together are the loss
    of GTE (Li et al. 2023), where ``p2q`` contains the pair itself a second time. ``symmetric`` is the mean of
    two losses, query to passage and passage to query. ``provided`` negatives of the data set join the candidates
    of all queries.

    Source: Sentence Transformers ``MultipleNegativesRankingLoss`` (scale 20, which is temperature 0.05;
    nli-mpnet-base-v2 on the STS benchmark: Spearman 86.53). Unlike there, passages labelled relevant to a
    query are never its negatives, nor are queries that share a positive with it, and a passage drawn twice
    counts once. So a batch may hold a text twice, which Sentence Transformers avoids by its ``NO_DUPLICATES``
    sampler; only a passage with the words of the query itself is still a negative where it is not labelled. On an
    inference set pairs are entailments, and ``provided=1`` adds a contradiction of the same premise.

    Published with: scale 20, batches of 128 triples of AllNLI (premise, entailment, contradiction), one epoch.
    """

    scale: float = knob(20.0, low=5.0, high=100.0, log=True, source="sentence-transformers MNR scale")
    directions: str = knob("q2p", choices=DIRECTIONS, source="sentence-transformers MNR directions")
    symmetric: bool = knob(False, choices=(False, True), source="sentence-transformers MNR partition_mode")
    provided: int = knob(0, least=0, source="sentence-transformers MNR: further columns are negatives")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.symmetric and self.directions != "q2p":
            raise ValueError("strategy.symmetric=true is q2p and p2q; leave strategy.directions at q2p")

    @property
    def negatives(self) -> Negatives:
        return Provided(self.provided) if self.provided else InBatch()

    def loss(self, batch: Batch) -> Loss:
        if self.symmetric:
            back = contrast(self.scale * batch.positive_similarity, self._towards(batch, "p2q", paired=False))
            return Loss((cross_entropy(batch, self.scale) + back) / 2)
        sides = [self._towards(batch, side) for side in self.directions.split("+")]
        return Loss(contrast(self.scale * batch.positive_similarity, *sides))

    def _towards(self, batch: Batch, side: str, paired: bool = True) -> Tensor:
        """Logits of one direction's sum, towards passages [Q, C] or queries [Q, Q]; p2q's may hold the pair."""
        if side == "q2p":
            return only(self.scale * batch.similarity, batch.negative)
        if side == "p2p":
            positives = batch.candidates[batch.positive]
            return only(self.scale * (positives @ batch.candidates.T), batch.negative)
        stranger = ~(batch.query_answers | batch.query_answers.T)
        if side == "q2q":
            return only(self.scale * (batch.queries @ batch.queries.T), stranger)
        pair = torch.eye(len(stranger), dtype=torch.bool, device=stranger.device)
        return only(self.scale * batch.similarity[:, batch.positive].T, stranger | pair if paired else stranger)
