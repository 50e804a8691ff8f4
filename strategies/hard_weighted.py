"""In-batch negatives weighted by how hard they are."""

from __future__ import annotations

from dataclasses import dataclass

from strategies.base import Strategy, knob, register
from strategies.batch import Batch, Loss
from strategies.losses import contrast, only


@register("hard_weighted")
@dataclass(frozen=True)
class HardWeighted(Strategy):
    """Cross-entropy in which harder negatives have larger weights.

    ``L_i = -log( exp(s c_ip) / (exp(s c_ip) + sum_n w_n exp(s c_in)) )`` with weights
    ``w_n = N exp(b s c_in) / sum_k exp(b s c_ik)`` whose mean is 1; ``b`` is ``concentration``, and 0 is
    :class:`strategies.mnr.MultipleNegativesRanking`.

    Source: Robinson et al. 2021, "Contrastive Learning with Hard Negative Samples" (``joshr17/HCL``), without its
    correction for false negatives, which is :class:`strategies.debiased.Debiased`.

    Published with: temperature 0.5 (scale 2), beta 1, prior 0.1, batches of 256 images (STL-10); beta 0.5 and 2 are 1.1
    and 0.4 points lower.
    """

    mechanism = "were the weights of the negatives different; set strategy.concentration above 0"

    scale: float = knob(2.0, low=1.0, high=100.0, log=True, source="Robinson et al. temperature 0.5")
    concentration: float = knob(1.0, low=0.0, high=2.0, least=0, source="Robinson et al. beta, with temperature 0.5")

    def loss(self, batch: Batch) -> Loss:
        logits = self.scale * batch.similarity
        count = batch.negative.sum(1, keepdim=True).to(logits.dtype)
        # A query without negatives gets equal weights: its terms vanish below, and no gradient is undefined.
        weighed = only(self.concentration * logits, batch.negative | (count == 0))
        weights = count.clamp(min=1).log() + weighed.log_softmax(dim=1)
        terms = contrast(self.scale * batch.positive_similarity, only(logits + weights, batch.negative))
        return Loss(terms, acted=(count.squeeze(1) > 1) & (self.concentration > 0))
