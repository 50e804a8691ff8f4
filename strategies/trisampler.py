"""Mined negatives that score about as high as the positive and are nearer to it than to the query."""

from __future__ import annotations

from dataclasses import dataclass

from strategies.base import Strategy, knob, register
from strategies.batch import Batch, Loss
from strategies.losses import cross_entropy
from strategies.negatives import Mined, Near, Negatives


@register("trisampler")
@dataclass(frozen=True)
class TriSampler(Strategy):
    """Cross-entropy against mined passages inside the triangle of query, positive and passage.

    ``L_i = -log( exp(s c_ip) / sum_j exp(s c_ij) )`` over the passages of the batch. At every step two draws without
    replacement are made for each query. ``candidates`` come from the first ``last`` ranks by the weights
    ``exp(-a (s m_ij - s m_ip)^2)`` with the miner's cosines ``m`` and ``a`` the ``sharpness``, as in
    :class:`strategies.simans.SimANS`. Of these, ``n`` come by the weights ``max(0, m_pj - m_ij)``: the passage must be
    nearer to the positive than to the query. Where fewer are, places stay free.

    Source: TriSampler (Yang et al. 2024). The defaults that it does not give are this project's, and so is the weight
    on logits, as in SimANS.

    Published with: both weights, 1/4 for ``a``.
    """

    scale: float = knob(20.0, low=5.0, high=100.0, log=True, source="sentence-transformers MNR scale")
    n: int = knob(7, low=1, high=15, log=True, least=1, source="this project, as mined_hard")
    last: int = knob(100, low=60, high=500, log=True, least=1, source="this project, as simans")
    candidates: int = knob(30, low=15, high=60, log=True, least=1, source="this project")
    sharpness: float = knob(0.25, low=0.05, high=5.0, log=True, source="TriSampler: 1/4")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.n <= self.candidates <= self.last:
            raise ValueError(
                f"strategy.candidates={self.candidates} must be at least strategy.n={self.n} and at most "
                f"strategy.last={self.last}"
            )

    @property
    def negatives(self) -> Negatives:
        near = Near(self.sharpness, scale=self.scale, candidates=self.candidates)
        return Mined(self.n, last=self.last, choice=near)

    def loss(self, batch: Batch) -> Loss:
        return Loss(cross_entropy(batch, self.scale))
