"""Negatives that the data set provides."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from strategies.base import Strategy, knob, register
from strategies.batch import Batch, Loss
from strategies.losses import contrast, only
from strategies.negatives import Negatives, Provided


@register("provided_hard")
@dataclass(frozen=True)
class ProvidedHard(Strategy):
    """Cross-entropy of the positive against negatives that the data set provides and the rest of the batch.

    ``L_i = -log( exp(s c_ip) / sum_j exp(s c_ij + w [j is the query's own hard negative]) )``: ``weight`` is
    added to the logit, so it multiplies a term by ``exp(w)``. 0 gives all terms equal weight; minus infinity
    would leave out the query's own hard negative.

    Source: supervised SimCSE (Gao et al. 2021): entailment against contradiction, temperature 0.05, log
    weight 0 (BERT base, mean of seven STS tasks: 81.57; without hard negatives STS-B dev 84.9 instead of
    86.2). FlagEmbedding draws ``n`` of a line's ``neg`` at every step. With negatives that a cross-encoder has judged
    (``bench data judge``, ``data.judged``) it trains on RocketQA's denoised hard negatives (Qu et al. 2021).

    Published with: temperature 0.05, log weight 0, batches of 512, learning rate 5e-5, 3 epochs.
    """

    scale: float = knob(20.0, low=5.0, high=100.0, log=True, source="SimCSE temperature 0.05")
    n: int = knob(1, low=1, high=7, log=True, least=1, source="SimCSE: one contradiction a pair")
    weight: float = knob(0.0, low=-2.0, high=2.0, source="SimCSE hard_negative_weight, a log weight")

    @property
    def negatives(self) -> Negatives:
        return Provided(self.n)

    def loss(self, batch: Batch) -> Loss:
        logits = self.scale * batch.similarity
        weighted = torch.where(batch.is_own, logits + self.weight, logits)
        return Loss(contrast(self.scale * batch.positive_similarity, only(weighted, batch.negative)))
