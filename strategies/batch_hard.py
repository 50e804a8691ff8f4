"""The hardest positive against the hardest negative of the batch."""

from __future__ import annotations

from dataclasses import dataclass

from strategies.base import Strategy, knob, register
from strategies.batch import Batch, Loss
from strategies.losses import distance, hinge, only


@register("batch_hard")
@dataclass(frozen=True)
class BatchHard(Strategy):
    """Triplet margin between a query's farthest relevant passage and its nearest negative in the batch.

    ``L_i = max(0, max_p d(q_i, p) - min_n d(q_i, n) + m)``; ``d`` is ``1 - cosine`` or Euclidean, ``p`` runs
    over the labelled relevant passages in the batch. Where each query has one and distances are cosines, it
    equals :class:`strategies.hardest_neg.HardestNegative`.

    Source: Hermans et al. 2017, "In Defense of the Triplet Loss"; Sentence Transformers
    ``BatchHardTripletLoss`` (margin 5 on Euclidean distances, which exceeds the largest distance of unit vectors).

    Published with: vectors of any length, Euclidean distances, batches of 18 people with 4 images each. Of its margins
    none is on unit vectors; the default is that of FaceNet, 0.2 on squared Euclidean distances, which is 0.1 on
    ``1 - cosine``.
    """

    margin: float = knob(0.1, low=0.0, high=1.0, source="FaceNet: 0.2 on squared Euclidean distances")
    distance: str = knob("cosine", choices=("cosine", "euclidean"), source="FaceNet: squared L2, 2 (1 - cosine)")

    def loss(self, batch: Batch) -> Loss:
        farthest = -only(-batch.similarity, batch.relevant).amax(dim=1)
        nearest = only(batch.similarity, batch.negative).amax(dim=1)
        some = batch.negative.any(dim=1)
        near, far = distance(farthest, self.distance), distance(nearest.where(some, 0.0), self.distance)
        return Loss(hinge(far, near, self.margin) * some)
