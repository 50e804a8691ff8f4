"""The triplet loss with one negative for each query."""

from __future__ import annotations

from dataclasses import dataclass

from strategies.base import Strategy, knob, register
from strategies.batch import Batch, Loss
from strategies.losses import distance, hinge, over_own
from strategies.negatives import Mined, Negatives, Provided, RandomGlobal

SOURCES: dict[str, Negatives] = {
    "random": RandomGlobal(1),
    "mined": Mined(1, first=10, last=210),
    "provided": Provided(1),
}


@register("triplet")
@dataclass(frozen=True)
class Triplet(Strategy):
    """Margin between the distances of a query to its positive and to one negative.

    ``L_i = max(0, d(q, p) - d(q, n) + m)``; ``d`` is ``1 - cosine`` or Euclidean. The negative is a random
    passage, one mined by the encoder before training (ranks 10 to 210), or one that the data set provides. With
    cosines and random negatives it is :class:`strategies.random_pairwise.RandomPairwise` with another margin.

    Source: Sentence Transformers ``TripletLoss``, whose default margin of 5 on Euclidean distances
    cannot be met by unit vectors, whose distance is at most 2; its version 5.2 had the sign of that distance
    reversed. The default margin is that of FaceNet (Schroff et al. 2015).

    Published with: margin 0.2 on squared Euclidean distances of unit vectors, which is 0.1 on ``1 - cosine``. Sentence
    Transformers' default distance is Euclidean, without the square: FaceNet's margin does not apply to it.
    """

    margin: float = knob(0.1, low=0.0, high=1.0, source="FaceNet: 0.2 on squared Euclidean distances")
    distance: str = knob("cosine", choices=("cosine", "euclidean"), source="FaceNet: squared L2, 2 (1 - cosine)")
    negative: str = knob("random", choices=tuple(SOURCES), source="PaddleNLP ANCE and Baseline")

    @property
    def negatives(self) -> Negatives:
        return SOURCES[self.negative]

    def loss(self, batch: Batch) -> Loss:
        near = distance(batch.positive_similarity, self.distance)[:, None]
        far = distance(batch.own_similarity, self.distance)
        return Loss(over_own(hinge(far, near, self.margin), batch))
