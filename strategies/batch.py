"""What a loss sees: the embeddings of one batch and who is relevant to whom."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """One batch after encoding. Q queries, C distinct candidate passages, d dimensions.

    ``queries`` [Q, d] and ``candidates`` [C, d] have unit length, so products are cosines in [-1, 1].
    ``positive`` [Q] is the column of the positive a query was drawn with. ``relevant`` [Q, C] marks every
    column labelled relevant to the query, its positive included: these are never negatives. A passage
    stands in one column however often it was drawn, so it is pushed away once. ``own`` [Q, n] are the
    columns of negatives sampled for the query itself (None where the strategy samples none), and
    ``teacher`` [Q, C] a teacher's scores (None where there is none).
    """

    queries: Tensor
    candidates: Tensor
    positive: Tensor
    relevant: Tensor
    own: Tensor | None = None
    teacher: Tensor | None = None

    @cached_property
    def similarity(self) -> Tensor:
        """[Q, C] cosine of every query with every candidate."""
        return self.queries @ self.candidates.T

    @cached_property
    def positive_similarity(self) -> Tensor:
        """[Q] cosine of each query with its own positive."""
        return self.similarity.gather(1, self.positive[:, None]).squeeze(1)

    @cached_property
    def is_positive(self) -> Tensor:
        """[Q, C] True in the column of the query's own positive."""
        mask = torch.zeros_like(self.relevant)
        return mask.scatter(1, self.positive[:, None], True)


@dataclass(frozen=True)
class Loss:
    """A loss as one term per query; the batch's loss is their mean.

    ``per_query`` [Q] keeps the terms apart so that the share of active ones can be told for every strategy.
    """

    per_query: Tensor

    @property
    def value(self) -> Tensor:
        """Scalar: the mean over the batch's queries."""
        return self.per_query.mean()
