"""The nearest negative of the batch that is farther away than the positive."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from strategies.base import Strategy, knob, register
from strategies.batch import Batch, Loss
from strategies.losses import distance, hinge, only


@register("semi_hard")
@dataclass(frozen=True)
class SemiHard(Strategy):
    """Triplet margin against the nearest negative that is farther than the positive.

    ``L_i = max(0, d(q_i, p) - d(q_i, n) + m)`` with ``n`` the nearest negative of the batch for which
    ``d(q_i, n) > d(q_i, p)``, or the farthest negative where there is none. Negatives that are nearer than the
    positive, which may be labelling errors, are thus avoided.

    Source: FaceNet (Schroff et al. 2015); Sentence Transformers ``BatchSemiHardTripletLoss`` takes the same negative
    (margin 5, Euclidean).

    Published with: margin 0.2 on squared Euclidean distances of unit vectors, which is 0.1 on ``1 - cosine``; batches
    of 1,800 faces.
    """

    mechanism = "was a negative farther than the positive by less than the margin; raise strategy.margin"

    margin: float = knob(0.1, low=0.0, high=1.0, source="FaceNet: 0.2 on squared Euclidean distances")
    distance: str = knob("cosine", choices=("cosine", "euclidean"), source="FaceNet: squared L2, 2 (1 - cosine)")

    def loss(self, batch: Batch) -> Loss:
        similarity, negative = batch.similarity, batch.negative
        beyond = negative & (similarity < batch.positive_similarity[:, None])
        nearest = only(similarity, beyond).amax(dim=1)
        farthest = -only(-similarity, negative).amax(dim=1)
        some = negative.any(dim=1)
        chosen = torch.where(beyond.any(dim=1), nearest, farthest).where(some, 0.0)
        near, far = (distance(s, self.distance) for s in (batch.positive_similarity, chosen))
        terms = hinge(far, near, self.margin) * some
        return Loss(terms, acted=beyond.any(dim=1) & (terms > 0))
