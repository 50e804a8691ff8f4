"""SimBERT: pairs in both directions against the rest of the batch, and generating one text of a pair from the other."""

from __future__ import annotations

from dataclasses import dataclass

from strategies.base import Strategy, knob, register
from strategies.batch import Batch, Loss
from strategies.examples import BothWays, Examples
from strategies.losses import cross_entropy


@register("simbert")
@dataclass(frozen=True)
class SimBERT(Strategy):
    """Cross-entropy of each text against all other texts of the batch, plus that of generating its partner.

    Both texts of a pair are rows. ``S = V V^T - 1e12 I`` are the cosines of all rows with each other, without those of
    a row with itself; ``L_i = contrast * -log( exp(s S_ip) / sum_j exp(s S_ij) ) + generation * G_i`` with ``p`` the
    row of the partner. The mean of ``G`` is ``sum(CE * mask) / sum(mask)``, the next-token cross-entropy over the
    partner's tokens. A row attends as UniLM does (Dong et al. 2019), so its vector is that of its first text alone.
    ``noise`` is the share of rows whose first text has 15 % of its words masked; the text to be generated has none.

    Source: SimBERT (Su 2020; ``ZhuiyiTechnology/simbert``). Unlike there, texts that are equal, or of one pair, are
    never each other's negatives, and a text that stands in several rows counts once. The pooling is the encoder's
    own; SimBERT's is BERT's pooler without tanh.

    Published with: scale 30, both parts with equal weight, 64 pairs a batch, learning rate 2e-6, 32 tokens.
    """

    scale: float = knob(30.0, low=5.0, high=100.0, log=True, source="simbert.py: scale 30")
    contrast: float = knob(1.0, low=0.0, high=2.0, least=0, source="simbert.py: the sum of both losses")
    generation: float = knob(1.0, low=0.0, high=2.0, least=0, source="simbert.py: the sum of both losses")
    noise: float = knob(0.0, low=0.0, high=1.0, least=0, most=1, source="simbert.py has none, RoFormer-Sim 0.5")

    @property
    def examples(self) -> Examples:
        return BothWays(self.noise, targets=self.generation > 0)

    def loss(self, batch: Batch) -> Loss:
        contrast = self.contrast * cross_entropy(batch, self.scale)
        return Loss(contrast if batch.generation is None else contrast + self.generation * batch.generation)
