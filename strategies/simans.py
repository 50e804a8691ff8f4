"""Mined negatives that score about as high as the positive."""

from __future__ import annotations

from dataclasses import dataclass

from strategies.base import Strategy, knob, register
from strategies.batch import Batch, Loss
from strategies.losses import cross_entropy
from strategies.negatives import Mined, Near, Negatives


@register("simans")
@dataclass(frozen=True)
class SimANS(Strategy):
    """Cross-entropy against mined passages that are the likelier to be drawn the nearer they score to the positive.

    ``L_i = -log( exp(s c_ip) / sum_j exp(s c_ij) )`` over the passages of the batch. At every step ``n`` of the first
    ``last`` ranks are drawn for each query without replacement, by the weights ``exp(-a (s m_ij - s m_ip - b)^2)``
    with the miner's cosines ``m``, ``a`` the ``sharpness`` and ``b`` the ``shift``. Passages that score far below the
    positive teach little, and those far above it may be answers. The weights are on logits, as the source's scores are
    inner products without a temperature.

    Source: SimANS (Zhou et al. 2022) and its code. Its code adds ``b`` where the paper subtracts it, as
    here, and on MS MARCO passages has ``exp(-3 |s - s_p|)``. It mines again as it trains; here the miner is the
    encoder before training.

    Published with: ``a`` 0.5 and, in the code, ``b`` 1 on Natural Questions and 0 on TriviaQA, its default; 15
    negatives a query of the first 100; an MRR@10 of 40.9 on MS MARCO passages, with AR2.
    """

    scale: float = knob(20.0, low=5.0, high=100.0, log=True, source="sentence-transformers MNR scale")
    n: int = knob(15, low=1, high=15, log=True, least=1, source="SimANS train_NQ_AR2.sh --number_neg 15")
    last: int = knob(100, low=60, high=500, log=True, least=1, source="SimANS: the first 100")
    sharpness: float = knob(0.5, low=0.05, high=5.0, log=True, source="SimANS train_TQ_AR2.sh --a 0.5")
    shift: float = knob(0.0, low=-2.0, high=2.0, source="SimANS train_TQ_AR2.sh --b 0, the default of the code")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.last < self.n:
            raise ValueError(f"strategy.last={self.last} ranks are too few for strategy.n={self.n} negatives")

    @property
    def negatives(self) -> Negatives:
        return Mined(self.n, last=self.last, choice=Near(self.sharpness, self.shift, self.scale))

    def loss(self, batch: Batch) -> Loss:
        return Loss(cross_entropy(batch, self.scale))
