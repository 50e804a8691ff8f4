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

    ``kind="pair"`` is ANCE's loss, ``-log( exp(s c_ip) / (exp(s c_ip) + sum_n exp(s c_in)) )`` over the query's ``n``
    negatives. ``kind="ce"`` is the same sum over all passages of the batch. ``kind="hinge"`` is PaddleNLP's, the mean
    over the ``n`` negatives of ``max(0, c_in - c_ip + m)``. ``scale`` belongs to the first two, ``margin`` to the last.
    Negatives are drawn from the ``last`` highest-ranked passages that are not labelled relevant.

    The first search is before the first step, so a run of at most ``refresh`` steps would never mine again. It is
    refused.

    Source: ANCE (Xiong et al. 2021; ``microsoft/ANCE``). The search is synchronous here: training waits for it.
    PaddleNLP's version has no published result. It takes the five lowest of the top 500, ranks 496 to 500, and does not
    exclude the positive.

    Published with: one of the top 200 passages a query, searched again every 10,000 steps, dot products of vectors
    that are not normalised (so no scale), LAMB, learning rate 1e-6, after a warm-up on BM25 negatives.
    """

    kind: str = knob("pair", choices=("pair", "ce", "hinge"), source="ANCE: rdot_nll; hinge: PaddleNLP ance")
    margin: float = knob(0.3, low=0.0, high=0.5, source="PaddleNLP train_ance.py --margin, for hinge")
    scale: float = knob(20.0, low=5.0, high=100.0, log=True, source="this project, as for mnr; ANCE has dot products")
    n: int = knob(1, low=1, high=7, log=True, least=1, source="ANCE: one negative a triple")
    last: int = knob(200, low=20, high=500, log=True, least=1, source="ANCE --topk_training 200")
    refresh: int = knob(
        25, low=10, high=400, log=True, least=1, counts_steps=True, source="this project; ANCE --save_steps 10000"
    )

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
        return Loss(cross_entropy(batch, self.scale, local=self.kind == "pair"))
