"""Unsupervised SimCSE: two views of one text under different dropout."""

from __future__ import annotations

from dataclasses import dataclass

from strategies.base import Strategy, knob, register
from strategies.batch import Batch, Loss
from strategies.examples import Examples, TwoViews
from strategies.losses import cross_entropy


@register("simcse")
@dataclass(frozen=True)
class SimCSE(Strategy):
    """Cross-entropy of a text's second view against the other texts of the batch; no label is used.

    ``L_i = -log( exp(s c_ii) / sum_j exp(s c_ij) )`` over cosines of two views of the same texts that differ
    by dropout. ``texts`` are the data set's ``unlabelled`` texts or its ``corpus``. ``repetition`` repeats
    some tokens of each view, so that equal length no longer identifies the positive.

    Source: SimCSE (Gao et al. 2021; temperature 0.05; BERT base, mean of seven STS tasks: 76.25). PaddleNLP
    literature search, ERNIE 1.0: Recall@1 42.374, Recall@50 72.331; word repetition (share 0.32) is from its
    text matching example, where STS-B dev went from 74.76 to 78.32.

    Published with: temperature 0.05, batches of 64, learning rate 3e-5, dropout 0.1, one epoch of a million sentences
    (BERT base); PaddleNLP has 64 on each of 4 GPUs, 5e-5, dropout 0.2 and 3 epochs.
    """

    scale: float = knob(20.0, low=5.0, high=100.0, log=True, source="SimCSE temperature 0.05; PaddleNLP --scale")
    texts: str = knob("unlabelled", choices=("unlabelled", "corpus"), source="PaddleNLP train_unsupervised.csv")
    repetition: float = knob(0.0, low=0.0, high=0.5, least=0, source="ESimCSE; PaddleNLP has dup_rate 0.32")

    @property
    def examples(self) -> Examples:
        return TwoViews(self.texts, self.repetition)

    def loss(self, batch: Batch) -> Loss:
        return Loss(cross_entropy(batch, self.scale))
