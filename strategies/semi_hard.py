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

    Source: FaceNet (Schroff et al. 2015), margin 0.2; Sentence Transformers ``BatchSemiHardTripletLoss``
    takes the same negative (margin 5, Euclidean).
    """

    margin: float = knob(0.2, low=0.0, high=1.0, source="FaceNet; sentence-transformers has 5")
    distance: str = knob("cosine", choices=("cosine", "euclidean"), source="sentence-transformers SemiHard")

    def loss(self, batch: Batch) -> Loss:
        similarity, negative = batch.similarity, batch.negative
        beyond = negative & (similarity < batch.positive_similarity[:, None])
        nearest = only(similarity, beyond).amax(dim=1)
        farthest = -only(-similarity, negative).amax(dim=1)
        some = negative.any(dim=1)
        chosen = torch.where(beyond.any(dim=1), nearest, farthest).where(some, 0.0)
        near, far = (distance(s, self.distance) for s in (batch.positive_similarity, chosen))
        return Loss(hinge(far, near, self.margin) * some)
