"""Carrying out a declaration of negatives: from ``strategies.negatives`` to passage ids."""

from __future__ import annotations

from functools import singledispatch
from typing import Protocol

import numpy as np

from bench.data.dataset import DataSet, Ids
from bench.data.pairs import Pairs
from strategies.negatives import InBatch, Negatives


class Source(Protocol):
    """Where the sampled negatives of a batch come from."""

    def draw(self, queries: Ids, step: int) -> Ids | None:
        """[Q, n] passage ids of each query's own negatives, or None where none are sampled."""

    def reach(self, pairs: Pairs) -> Ids:
        """Ids of all passages that a batch can hold: the positives and whatever can be sampled."""


@singledispatch
def source(declaration: Negatives, data: DataSet, seed: int) -> Source:
    """The source that carries out a declaration. One function is registered for each kind of declaration."""
    raise TypeError(f"nothing carries out {type(declaration).__name__}")


class _NoSampling:
    def draw(self, queries: Ids, step: int) -> None:
        return None

    def reach(self, pairs: Pairs) -> Ids:
        return np.unique(pairs.positive)


@source.register
def _in_batch(declaration: InBatch, data: DataSet, seed: int) -> Source:
    return _NoSampling()
