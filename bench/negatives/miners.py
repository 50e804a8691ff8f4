"""Who mines: an encoder, or BM25."""

from __future__ import annotations

import re
from collections.abc import Iterator
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from bench.data.dataset import DataSet, Floats, Ids, Split
from bench.negatives.setting import Cost

# Scripts that are written without spaces; a run of them is cut into pairs of characters.
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_TERMS = re.compile(rf"(?P<run>[{_UNSPACED}]+)|(?P<word>[^\W{_UNSPACED}]+)")


class Dense:
    """Cosines of query vectors [Q, d], one row a query of the split, with passage vectors [P, d]."""

    def __init__(self, queries: Floats, passages: Floats, device: torch.device, cost: Cost) -> None:
        self.queries = queries
        self.passages = torch.tensor(passages).to(device)
        self.size, self.device, self.cost = len(passages), device, cost

    def scores(self, rows: Ids, out: Tensor) -> Tensor:
        """See :class:`bench.negatives.mining.Miner`."""
        block = torch.from_numpy(np.asarray(self.queries[rows])).to(self.device)
        return torch.mm(block, self.passages.T, out=out)


class BM25:
    """BM25 (Lucene's, k1 1.2, b 0.75) over words; Chinese and Japanese over pairs of characters."""

    device = torch.device("cpu")

    def __init__(self, data: DataSet, split: Split) -> None:
        import bm25s

        start = perf_counter()
        self.size, self.data, self.split = len(data.passages), data, split
        self.index = bm25s.BM25(k1=1.2, b=0.75)
        self.index.index([list(terms(text)) for text in data.passages], show_progress=False)
        self.cost = Cost(perf_counter() - start)

    def scores(self, rows: Ids, out: Tensor) -> Tensor:
        """See :class:`bench.negatives.mining.Miner`."""
        for place, query in enumerate(self.split.queries[rows]):
            known = self.index.get_tokens_ids(list(terms(self.data.queries[query])))
            out[place] = torch.from_numpy(self.index.get_scores_from_ids(known)) if known else 0.0
        return out


def terms(text: str) -> Iterator[str]:
    """The terms that BM25 counts: lower-case words, and overlapping pairs of characters of Chinese and Japanese."""
    for found in _TERMS.finditer(text.lower()):
        run = found["run"]
        if run is None or len(run) == 1:
            yield found[0]
        else:
            yield from (run[i : i + 2] for i in range(len(run) - 1))
