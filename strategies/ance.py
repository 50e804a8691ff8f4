"""Hard negatives mined repeatedly by the model in training."""

from __future__ import annotations

from dataclasses import dataclass

from strategies.base import Strategy, knob, register
from strategies.batch import Batch, Loss
from strategies.losses import cross_entropy, own_hinge
from strategies.negatives import Mined, Negatives


@register("ance")
@dataclass(frozen=True)
class ANCE(Strategy):
    """Negatives from the top ranks of a search that the current model repeats every ``refresh`` steps.

    ``kind="hinge"`` is the mean over the query's ``n`` negatives of ``max(0, c_in - c_ip + m)`` over cosines;
    it does not use the batch's other passages. ``kind="ce"`` is the cross-entropy over all passages of the
    batch, ``-log( exp(s c_ip) / sum_j exp(s c_ij) )``. Negatives are drawn from the ``last`` highest-ranked
    passages that are not labelled relevant.

    A run of at most ``refresh`` steps mines once, before its first step.

    Source: ANCE (Xiong et al. 2021). The search is synchronous here: training waits for it. PaddleNLP's
    version (hinge, margin 0.3, top 500, no published result) takes the five lowest of the top 500, ranks 496
    to 500, and does not exclude the positive.
    """

    kind: str = knob("hinge", choices=("hinge", "ce"), source="PaddleNLP semantic_indexing/ance")
    margin: float = knob(0.3, low=0.0, high=0.5, source="PaddleNLP train_ance.py --margin")
    scale: float = knob(20.0, low=5.0, high=100.0, log=True, source="sentence-transformers MNR scale, for ce")
    n: int = knob(1, low=1, high=7, log=True, least=1, source="PaddleNLP: one negative a triplet")
    last: int = knob(200, low=20, high=500, log=True, least=1, source="ANCE: top 200; PaddleNLP: 500")
    refresh: int = knob(100, low=25, high=400, log=True, least=1, source="this project; ANCE: 5,000 to 10,000")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.last < self.n:
            raise ValueError(f"strategy.last={self.last} ranks are too few for strategy.n={self.n} negatives")

    @property
    def negatives(self) -> Negatives:
        return Mined(self.n, "current", 0, self.last, refresh=self.refresh)

    def loss(self, batch: Batch) -> Loss:
        if self.kind == "hinge":
            return Loss(own_hinge(batch, self.margin))
        return Loss(cross_entropy(batch, self.scale))
