"""In-batch negatives corrected for false negatives."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from strategies.base import Strategy, knob, register
from strategies.batch import Batch, Loss
from strategies.losses import contrast, only


@register("debiased")
@dataclass(frozen=True)
class Debiased(Strategy):
    """Cross-entropy whose negative term is corrected for the expected share of unlabelled positives.

    ``L_i = -log( e_p / (e_p + N g) )``, ``e_x = exp(s c_x)``, ``N`` negatives and
    ``g = max( (mean_n e_n - t e_p) / (1 - t), exp(-s) )``: ``t`` (``prior``) is the probability that a
    negative is false, and ``exp(-s)`` is the smallest value that ``g`` can have over cosines. ``t = 0`` is
    :class:`strategies.mnr.MultipleNegativesRanking`.

    Source: Chuang et al. 2020, "Debiased Contrastive Learning" (prior 0.1, temperature 0.5 for images). That prior
    belongs to a scale of 2. With the default scale of 20 most queries that are ranked well have no loss, so tune
    the two together.
    """

    scale: float = knob(20.0, low=5.0, high=100.0, log=True, source="sentence-transformers MNR scale")
    prior: float = knob(0.1, low=0.0, high=0.2, least=0, source="Chuang et al. tau_plus, for scale 2")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.prior >= 1:
            raise ValueError(f"strategy.prior={self.prior} is a probability below 1")

    def loss(self, batch: Batch) -> Loss:
        # Everything is divided by exp(s), the largest term there can be.
        positive = self.scale * (batch.positive_similarity - 1)
        count = batch.negative.sum(1).to(positive.dtype)
        sums = only(self.scale * (batch.similarity - 1), batch.negative).exp().sum(1)
        mean = sums / count.clamp(min=1)
        corrected = (mean - self.prior * positive.exp()) / (1 - self.prior)
        log_mean = corrected.clamp(min=math.exp(-2 * self.scale)).log()
        logits = torch.where(count > 0, log_mean + count.clamp(min=1).log(), -torch.inf)
        return Loss(contrast(positive, logits[:, None]))
