"""Embeddings that spread over the whole sphere, as an addition to any loss."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from strategies.base import Addition, knob, register_addition
from strategies.batch import Batch, LabelledBatch


@register_addition("spread_out")
@dataclass(frozen=True)
class SpreadOut(Addition):
    """Added to a loss: the cosines of a side's texts with each other are pulled towards those of random vectors.

    ``mean_weight M1^2 + moment_weight max(0, M2 - 1/d)`` with ``M1`` the mean and ``M2`` the mean square of the
    cosines of a side's texts with each other, each with all but itself, for vectors of length ``d``; the mean of the
    two sides, queries and passages (or left and right texts). A side of a single text adds 0. A query that stands
    in the batch twice counts as two texts.

    Source: Zhang et al. 2017, "Learning Spread-out Local Feature Descriptors", as in Sentence Transformers
    ``GlobalOrthogonalRegularizationLoss``. EmbeddingGemma (Schechter Vera et al. 2025) adds the sum of both sides'
    ``M2``: ``mean_weight=0 moment_weight=2``, but for the constant ``1/d``.

    Published with: both weights 1 beside any loss (Sentence Transformers).
    """

    mean_weight: float = knob(1.0, low=0.0, high=2.0, least=0, source="sentence-transformers mean_weight")
    moment_weight: float = knob(1.0, low=0.0, high=2.0, least=0, source="sentence-transformers second_moment_weight")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.mean_weight and not self.moment_weight:
            raise ValueError(
                f"strategy.mean_weight=0 and strategy.moment_weight=0 leave nothing of {self.name}; set one above 0"
            )

    def term(self, batch: Batch | LabelledBatch) -> Tensor:
        return torch.stack([self._of_side(side) for side in batch.sides]).mean()

    def _of_side(self, vectors: Tensor) -> Tensor:
        count, dim = vectors.shape
        apart = ~torch.eye(count, dtype=torch.bool, device=vectors.device)
        cosines = (vectors @ vectors.T).where(apart, 0.0)
        pairs = max(1, count * (count - 1))
        mean, moment = cosines.sum() / pairs, cosines.square().sum() / pairs
        return self.mean_weight * mean.square() + self.moment_weight * torch.relu(moment - 1 / dim)
