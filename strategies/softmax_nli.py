"""A classifier of pairs over their two vectors, as in Sentence-BERT."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from strategies.base import Strategy, knob, register
from strategies.batch import LabelledBatch, Loss
from strategies.examples import ClassifiedPairs, Examples
from strategies.negatives import Negatives, NoNegatives


@register("softmax_nli")
@dataclass(frozen=True)
class SoftmaxClassifier(Strategy):
    """Cross-entropy of a pair's class, predicted by a linear layer on both vectors and their difference.

    ``L_i = -log softmax(W [u, v, |u - v|] + b)_y`` with the vectors ``u`` and ``v`` before they are normalised. The
    layer has ``classes`` outputs and is trained with the encoder; only the encoder is evaluated and saved. ``product``
    adds ``u * v``, element by element, to its inputs. Cosines are not part of the loss, unlike in
    :class:`strategies.mnr.MultipleNegativesRanking` and :class:`strategies.cosent.CoSENT`.

    Source: Sentence-BERT (Reimers and Gurevych 2019), Sentence Transformers ``SoftmaxLoss`` (nli-bert-base on the
    STS benchmark: Spearman 77.12).

    Published with: BERT base, batches of 16, one epoch of AllNLI, mean pooling.
    """

    classes: int = knob(3, least=2, source="Sentence-BERT: entailment, neutral, contradiction")
    product: bool = knob(False, choices=(False, True), source="SoftmaxLoss concatenation_sent_multiplication")

    @property
    def negatives(self) -> Negatives:
        return NoNegatives()

    @property
    def examples(self) -> Examples:
        return ClassifiedPairs(self.classes)

    def head(self, dim: int) -> nn.Module:
        return nn.Linear((4 if self.product else 3) * dim, self.classes)

    def loss(self, batch: LabelledBatch) -> Loss:
        if batch.head is None:
            raise TypeError("softmax_nli needs its head")
        u, v = batch.left_raw, batch.right_raw
        features = [u, v, (u - v).abs(), *([u * v] if self.product else [])]
        return Loss(cross_entropy(batch.head(torch.cat(features, dim=1)), batch.label, reduction="none"))
