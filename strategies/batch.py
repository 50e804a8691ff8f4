"""The input of a loss: the embeddings of one batch, with relevance masks or with labels of pairs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Batch:
    """One batch after encoding. Q queries, C distinct candidate passages, d dimensions.

    ``queries`` [Q, d] and ``candidates`` [C, d] have unit length, so products are cosines in [-1, 1].
    ``positive`` [Q] is the column of the positive a query was drawn with. ``relevant`` [Q, C] marks every
    column labelled relevant to the query, including its positive: these are never negatives. A passage has
    one column however often it was drawn, so it counts once as a negative. ``own`` [Q, n] are the columns
    of the passages sampled for the query (None where the strategy samples none). They may include labelled
    passages; ``own_negative`` marks the true negatives among them.

    ``guide`` is the same batch, embedded by another, frozen model. ``teacher`` [Q, C] holds a teacher's
    scores, NaN where it gave none. Both are None where the strategy declares no guide. ``head`` is the module
    that the strategy declares, or None. ``generation`` [Q] are the losses of generating each query's target, whose mean
    is the cross-entropy of a target token; None where the examples have no targets. ``queued`` [C] marks the passages
    of earlier batches; None where the strategy declares no queue.
    """

    queries: Tensor
    candidates: Tensor
    positive: Tensor
    relevant: Tensor
    own: Tensor | None = None
    teacher: Tensor | None = None
    guide: Batch | None = None
    head: nn.Module | None = None
    generation: Tensor | None = None
    queued: Tensor | None = None

    @property
    def sides(self) -> tuple[Tensor, Tensor]:
        """The texts of each side that this batch encoded: [Q, d] queries and the candidates without a queue's."""
        return self.queries, self.candidates if self.queued is None else self.candidates[~self.queued]

    @property
    def texts(self) -> Tensor:
        """[Q + C, d] every text of the batch: the queries, then the candidates."""
        return torch.cat(self.sides)

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

    @cached_property
    def negative(self) -> Tensor:
        """[Q, C] True in every column that is a negative of the query."""
        return ~self.relevant

    @property
    def sampled(self) -> Tensor:
        """[Q, n] columns sampled for the query. Raises ``TypeError`` where the strategy samples none."""
        if self.own is None:
            raise TypeError("this batch has no sampled negatives")
        return self.own

    @cached_property
    def own_similarity(self) -> Tensor:
        """[Q, n] cosine of each query with each negative sampled for it."""
        return self.similarity.gather(1, self.sampled)

    @cached_property
    def own_negative(self) -> Tensor:
        """[Q, n] whether a sampled passage is a negative of the query and not a repetition of an earlier one."""
        own = self.sampled
        before = torch.ones(own.shape[1], own.shape[1], dtype=torch.bool, device=own.device).tril(-1)
        repeated = ((own[:, :, None] == own[:, None, :]) & before).any(2)
        return self.negative.gather(1, own) & ~repeated

    @cached_property
    def is_own(self) -> Tensor:
        """[Q, C] True in every column that was sampled for the query and is a negative of it."""
        return torch.zeros_like(self.relevant).scatter(1, self.sampled, True) & self.negative

    @cached_property
    def query_answers(self) -> Tensor:
        """[Q, Q] whether the own positive of query ``j`` is relevant to query ``i``."""
        return self.relevant[:, self.positive]


@dataclass(frozen=True)
class LabelledBatch:
    """B pairs of texts after encoding, each with a class or a score.

    ``left`` and ``right`` [B, d] have unit length; ``left_raw`` and ``right_raw`` [B, d] are the same vectors before
    normalisation. ``label`` [B] holds classes (int64) or scores (float32); it is 0 where labels are not used. ``head``
    is the module that the strategy declares, or None. ``guide`` is the same batch, embedded by another, frozen model,
    whose raw vectors are its unit vectors; None where the strategy declares no guide. There are no negatives.
    """

    left: Tensor
    right: Tensor
    left_raw: Tensor
    right_raw: Tensor
    label: Tensor
    head: nn.Module | None = None
    guide: LabelledBatch | None = None

    @property
    def sides(self) -> tuple[Tensor, Tensor]:
        """The texts of each side: [B, d] left ones and [B, d] right ones."""
        return self.left, self.right

    @property
    def texts(self) -> Tensor:
        """[2B, d] every text of the batch: the left ones, then the right ones."""
        return torch.cat(self.sides)

    @cached_property
    def similarity(self) -> Tensor:
        """[B] cosine of the two texts of each pair."""
        return (self.left * self.right).sum(dim=1)


@dataclass(frozen=True)
class Loss:
    """A loss as one term per example (a query, a pair, or a text); the batch's loss is their mean.

    ``per_example`` [n] has the single terms, so that telemetry can measure the share of terms above zero. ``acted`` [n]
    marks the examples on which the strategy's ``mechanism`` acted; None where the strategy names none. ``added`` is a
    scalar that belongs to the batch as a whole, or None.
    """

    per_example: Tensor
    acted: Tensor | None = None
    added: Tensor | None = None

    @property
    def value(self) -> Tensor:
        """Scalar: the mean over the batch's examples, and what is added."""
        mean = self.per_example.mean()
        return mean if self.added is None else mean + self.added

    @property
    def scalars(self) -> dict[str, Tensor]:
        """What the history has of it, without gradient: ``loss``, and of it what is ``added``."""
        added = {} if self.added is None else {"added": self.added.detach()}
        return {"loss": self.value.detach(), **added}
