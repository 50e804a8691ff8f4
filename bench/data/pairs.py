"""The training pairs of a data set and their relevance, ready for sampling."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bench.data.dataset import DataSet, Ids, Ragged, Split

NOBODY = Split(np.zeros(0, dtype=np.int64), Ragged.of([]))
"""A split without queries."""


@dataclass(frozen=True)
class Pairs:
    """One row per labelled (query, positive) pair of the training split.

    ``query`` [n] and ``positive`` [n] are ids into the data set's queries and passages.
    """

    split: Split

    @cached_property
    def row(self) -> Ids:
        """[n] row of the split that each pair is from."""
        return np.repeat(np.arange(len(self.split)), self.split.relevant.lengths)

    @cached_property
    def query(self) -> Ids:
        return self.split.queries[self.row]

    @property
    def positive(self) -> Ids:
        return self.split.relevant.values

    @classmethod
    def of(cls, data: DataSet) -> Pairs:
        """The training pairs of ``data``; none where it has no train split."""
        return cls(data.splits.get("train", NOBODY))

    def __len__(self) -> int:
        return len(self.split.relevant.values)

    @cached_property
    def row_of_query(self) -> Ids:
        """Row of the split by query id, -1 for queries that are not in it."""
        rows = np.full(int(self.split.queries.max(initial=-1)) + 1, -1, dtype=np.int64)
        rows[self.split.queries] = np.arange(len(self.split))
        return rows

    def relevant(self, queries: Ids, passages: Ids) -> NDArray[np.bool_]:
        """[Q, C] whether passage ``c`` is labelled relevant to query ``q``; ``passages`` are in rising order."""
        labels = self.split.relevant.take(self.row_of_query[queries])
        row = np.repeat(np.arange(len(queries)), labels.lengths)
        column = np.minimum(np.searchsorted(passages, labels.values), len(passages) - 1)
        hit = passages[column] == labels.values
        mask = np.zeros((len(queries), len(passages)), dtype=np.bool_)
        mask[row[hit], column[hit]] = True
        return mask
