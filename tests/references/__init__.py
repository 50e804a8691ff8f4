"""Every strategy's loss once more, as plain loops over numbers: ``NAME.py`` has ``reference(batch, strategy, q)``.

It gives the term of example ``q`` (a query, a pair or a text) of a batch, written from the formula and not from the
code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

from torch import Tensor

from strategies import Batch

Reference = Callable[[Batch, Any, int], float]


def reference_of(name: str) -> Reference:
    """The plain loop for a strategy. Raises ``ModuleNotFoundError`` where nobody has written it."""
    found: Reference = import_module(f"references.{name}").reference
    return found


def dot(a: Tensor, b: Tensor) -> float:
    return sum(x * y for x, y in zip(a.tolist(), b.tolist(), strict=True))


def cosines(batch: Batch, q: int) -> list[float]:
    return [dot(batch.queries[q], c) for c in batch.candidates]


def wrong(batch: Batch, q: int) -> list[int]:
    """Columns of the passages that are no answer to the query."""
    return [j for j in range(len(batch.candidates)) if not batch.relevant[q, j]]


def own(batch: Batch, q: int) -> list[int]:
    """Columns sampled for the query that are no answer to it, each once."""
    return sorted({int(j) for j in batch.own[q]} & set(wrong(batch, q)))


def softmax_loss(positive: float, negatives: Iterable[float]) -> float:
    """``-log(e^p / (e^p + sum e^n))``"""
    return -math.log(math.exp(positive) / (math.exp(positive) + sum(math.exp(n) for n in negatives)))


def far(cosine: float, kind: str) -> float:
    return 1 - cosine if kind == "cosine" else math.sqrt(2 - 2 * cosine)
