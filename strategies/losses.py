"""Losses on a score matrix, shared by the strategies. One term per query; no reduction here."""

from __future__ import annotations

import torch
from torch import Tensor

from strategies.batch import Batch


def cross_entropy(batch: Batch, scale: float, margin: float = 0.0) -> Tensor:
    """[Q] softmax cross-entropy of each query's own positive against its negatives.

    ``-log( exp(s(c_p - m)) / (exp(s(c_p - m)) + sum_n exp(s c_n)) )`` with cosines ``c``, scale ``s`` (one
    over the temperature) and margin ``m`` taken off the positive's cosine. Other relevant passages of the
    query stand on neither side.
    """
    own = batch.is_positive
    logits = scale * torch.where(own, batch.similarity - margin, batch.similarity)
    logits = logits.masked_fill(batch.relevant & ~own, -torch.inf)
    return torch.nn.functional.cross_entropy(logits, batch.positive, reduction="none")


def hinge(positive: Tensor, negative: Tensor, margin: float) -> Tensor:
    """[Q] ``max(0, negative - positive + margin)`` on similarities."""
    return torch.relu(negative - positive + margin)
