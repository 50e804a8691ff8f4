"""Searchers for negatives: an encoder, or BM25."""

from __future__ import annotations

import re
from collections.abc import Iterator
from time import perf_counter

import numpy as np
import torch

from bench.data.dataset import DataSet, Floats, Ids, Ragged, Split
from bench.model.embedding import Cost
from bench.search.base import best_first
from bench.search.exact import ExactIndex, top

# Scripts that are written without spaces; a run of them is cut into pairs of characters.
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_TERMS = re.compile(rf"(?P<run>[{_UNSPACED}]+)|(?P<word>[^\W{_UNSPACED}]+)")


class DenseSearcher:
    """Cosines of query vectors [Q, d], one row a query of the split, with passage vectors [P, d]."""

    def __init__(self, queries: Floats, passages: Floats, device: str, cost: Cost, memory_mb: int) -> None:
        self.queries, self.index, self.cost = queries, ExactIndex(passages, device, memory_mb), cost

    def search(self, rows: Ids, k: int, labelled: Ragged) -> tuple[Floats, Ids, Floats]:
        """See :class:`bench.negatives.pool.Searcher`."""
        block = np.asarray(self.queries[rows])
        known = np.empty(len(labelled.values), dtype=np.float32)
        for row, vector in enumerate(block):
            first, end = labelled.offsets[row : row + 2]
            known[first:end] = self.index.vectors[labelled.values[first:end]] @ vector
        return *self.index.search(block, k), known


class BM25Searcher:
    """BM25 (Lucene's, k1 1.2, b 0.75) over words; Chinese and Japanese over pairs of characters."""

    def __init__(self, data: DataSet, split: Split) -> None:
        import bm25s

        start = perf_counter()
        self.data, self.split = data, split
        self.index = bm25s.BM25(k1=1.2, b=0.75)
        self.index.index([list(terms(text)) for text in data.passages], show_progress=False)
        self.cost = Cost(perf_counter() - start)

    def search(self, rows: Ids, k: int, labelled: Ragged) -> tuple[Floats, Ids, Floats]:
        """See :class:`bench.negatives.pool.Searcher`."""
        ids, scores = np.empty((len(rows), k), dtype=np.int64), np.empty((len(rows), k), dtype=np.float32)
        known = np.empty(len(labelled.values), dtype=np.float32)
        for row, query in enumerate(self.split.queries[rows]):
            values = self.scores(self.data.queries[query])
            ids[row] = top(torch.from_numpy(values)[None], k)[0].numpy()
            scores[row] = values[ids[row]]
            first, end = labelled.offsets[row : row + 2]
            known[first:end] = values[labelled.values[first:end]]
        return *best_first(scores, ids), known

    def scores(self, query: str) -> Floats:
        """[P] scores of all passages."""
        tokens = self.index.get_tokens_ids(list(terms(query)))
        if not tokens:
            return np.zeros(len(self.data.passages), dtype=np.float32)
        return np.asarray(self.index.get_scores_from_ids(tokens), dtype=np.float32)


def terms(text: str) -> Iterator[str]:
    """The terms that BM25 counts: lower-case words, and overlapping pairs of characters of Chinese and Japanese."""
    for found in _TERMS.finditer(text.lower()):
        run = found["run"]
        if run is None or len(run) == 1:
            yield found[0]
        else:
            yield from (run[i : i + 2] for i in range(len(run) - 1))
