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

    Where ``g`` is at its smallest value, the negatives have no gradient. Prior and scale belong together: with a
    prior of 0.1 and a scale of 20 that is so for nearly every query.

    Source: Chuang et al. 2020, "Debiased Contrastive Learning" (``chingyaoc/DCL``).

    Published with: temperature 0.5 (scale 2), prior 0.1, batches of 256 images (STL-10).
    """

    mechanism = "was the corrected term above its smallest value; lower strategy.scale, or set strategy.prior above 0"

    scale: float = knob(2.0, low=1.0, high=20.0, log=True, source="Chuang et al. temperature 0.5")
    prior: float = knob(0.1, low=0.0, high=0.2, least=0, source="Chuang et al. tau_plus, with temperature 0.5")

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
        smallest = math.exp(-2 * self.scale)
        logits = torch.where(count > 0, corrected.clamp(min=smallest).log() + count.clamp(min=1).log(), -torch.inf)
        return Loss(contrast(positive, logits[:, None]), acted=(corrected > smallest) & (self.prior > 0))
