"""The order of pairs by cosine, fitted to their order by score."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from strategies.base import Strategy, knob, register
from strategies.batch import LabelledBatch, Loss
from strategies.examples import Examples, ScoredPairs
from strategies.losses import only
from strategies.negatives import Negatives, NoNegatives


@register("cosent")
@dataclass(frozen=True)
class CoSENT(Strategy):
    """The order of a batch's pairs by cosine, fitted to their order by score.

    ``L = log(1 + sum exp(s (c_i - c_j)))`` over all pairs ``i`` and ``j`` of the batch with ``y_i < y_j``: ``c`` are
    the cosines of pairs and ``y`` their scores. Only the order of scores counts, as in Spearman's correlation. The
    loss is one term for the whole batch. Each of its ``n`` pairs has ``n w_i L`` of it: ``w_i``, a constant for the
    gradient, is half the part of the sum whose terms have pair ``i``. Their mean is ``L``, with the gradient of
    ``L``, and a pair that is in order with all others has next to nothing of it. In an inference set the order is
    contradiction, neutral, entailment.

    Source: CoSENT (Su 2022; Huang et al. 2024), scale 20, as in Sentence Transformers ``CoSENTLoss``; text2vec's
    CoSENT with BERT base on the Chinese STS-B test: Spearman 79.27, and with a softmax classifier 66.41.

    Published with: scale 20, BERT base, trained on the training split of each task.
    """

    scale: float = knob(20.0, low=5.0, high=100.0, log=True, source="CoSENT; sentence-transformers CoSENTLoss")

    @property
    def negatives(self) -> Negatives:
        return NoNegatives()

    @property
    def examples(self) -> Examples:
        return ScoredPairs()

    def loss(self, batch: LabelledBatch) -> Loss:
        scaled = self.scale * batch.similarity
        ordered = batch.label[:, None] < batch.label
        terms = only(scaled[:, None] - scaled, ordered)
        whole = torch.logsumexp(torch.cat([terms.new_zeros(1), terms.flatten()]), dim=0)
        part = torch.exp(terms.detach() - whole.detach())
        share = part.sum(0) + part.sum(1)
        share = share / share.sum().clamp(min=torch.finfo(share.dtype).tiny)
        return Loss(len(share) * whole * share)
