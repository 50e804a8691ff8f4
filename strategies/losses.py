"""Losses on similarities, shared by the strategies. One term per query; no reduction here."""

from __future__ import annotations

import torch
from torch import Tensor

from strategies.batch import Batch


def contrast(positive: Tensor, *negatives: Tensor) -> Tensor:
    """[Q] ``-log(exp p / (exp p + sum exp n))`` of logits ``positive`` [Q] and ``negatives`` [Q, any] each.

    A negative logit of minus infinity does not count.
    """
    logits = torch.cat([positive[:, None], *negatives], dim=1)
    return torch.logsumexp(logits, dim=1) - positive


def only(logits: Tensor, there: Tensor) -> Tensor:
    """``logits`` where ``there`` is true, minus infinity elsewhere."""
    return logits.masked_fill(~there, -torch.inf)


def cross_entropy(batch: Batch, scale: float, margin: float = 0.0, local: bool = False) -> Tensor:
    """[Q] softmax cross-entropy of each query's own positive against its negatives.

    ``-log( exp(s(c_p - m)) / (exp(s(c_p - m)) + sum_n exp(s c_n)) )`` with cosines ``c``, scale ``s`` (one
    over the temperature) and margin ``m`` subtracted from the positive's cosine. The negatives are all
    candidates not labelled relevant, or with ``local`` only those sampled for the query.
    """
    negative = batch.is_own if local else batch.negative
    return contrast(scale * (batch.positive_similarity - margin), only(scale * batch.similarity, negative))


def hinge(positive: Tensor, negative: Tensor, margin: float) -> Tensor:
    """``max(0, negative - positive + margin)`` on similarities; 0 where ``negative`` is minus infinity."""
    return torch.relu(negative - positive + margin)


def own_hinge(batch: Batch, margin: float) -> Tensor:
    """[Q] mean hinge over the negatives sampled for the query; 0 where none is a negative."""
    terms = hinge(batch.positive_similarity[:, None], batch.own_similarity, margin)
    return over_own(terms, batch)


def over_own(terms: Tensor, batch: Batch) -> Tensor:
    """[Q] mean of ``terms`` [Q, n] over the sampled passages that are negatives; 0 where there is none."""
    there = batch.own_negative
    return torch.where(there, terms, 0.0).sum(1) / there.sum(1).clamp(min=1)


def distance(similarity: Tensor, kind: str) -> Tensor:
    """Distance of unit vectors from their cosine: ``cosine`` is ``1 - c``, ``euclidean`` ``sqrt(2 - 2c)``.

    The root is taken of at least 1e-12, where its gradient is still finite.
    """
    if kind == "cosine":
        return 1 - similarity
    return (2 - 2 * similarity).clamp(min=1e-12).sqrt()


def cosine_error(student: Tensor, teacher: Tensor) -> Tensor:
    """[n] ``1/n sum_j (cos(u_i, u_j) - cos(v_i, v_j))^2`` of a student's unit vectors [n, d] and a teacher's [n, g].

    The lengths ``d`` and ``g`` may differ, as only cosines are compared; ``i = j`` adds 0.
    """
    return (student @ student.T - teacher @ teacher.T).square().mean(dim=1)
