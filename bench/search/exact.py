"""Exact search: every score of every query, a block of queries at a time; by faiss on a CPU where it is installed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench import cores
from bench.data.dataset import Floats, Ids
from bench.search.base import IndexConfig, best_first, check_k, checked, register

if TYPE_CHECKING:
    from torch import Tensor

MEMORY_MB = 256  # enough queries a block for torch's product to run at full speed
BY_FAISS = 4096  # queries a block; it holds no more than their results


class ExactIndex:
    """All inner products with ``vectors`` ``[P, d]`` in float32, on the CPU or a CUDA ``device``.

    ``threads`` are those of the CPU; 0 is as many as :func:`bench.cores.count`.

    A search needs memory for the vectors on the device and ``memory_mb`` MiB of scores (those of one query at
    least), some three times as much where many scores are equal; with faiss, which keeps none, some 50 MiB.
    """

    def __init__(self, vectors: Floats, device: str = "cpu", memory_mb: int = MEMORY_MB, threads: int = 0) -> None:
        self.vectors, self.device, self.memory_mb = checked(vectors, "passage"), device, memory_mb
        self.threads = threads or cores.count()

    def save(self, path: Path) -> None:
        """There is no graph to write."""

    def search(self, queries: Floats, k: int) -> tuple[Floats, Ids]:
        """See :class:`bench.search.Index`."""
        check_k(k, len(self.vectors))
        queries = checked(queries, "query")
        search = self._by_torch if self.device != "cpu" or _faiss() is None else self._by_faiss
        scores, ids = np.empty((len(queries), k), dtype=np.float32), np.empty((len(queries), k), dtype=np.int64)
        rows = self._rows if search == self._by_torch else BY_FAISS
        for start in range(0, len(queries), rows):
            block = slice(start, start + rows)
            scores[block], ids[block] = search(queries[block], k)
        return best_first(scores, ids)

    @property
    def _rows(self) -> int:
        return max(1, self.memory_mb * 2**18 // len(self.vectors))

    def _by_faiss(self, queries: Floats, k: int) -> tuple[Floats, Ids]:
        faiss = _faiss()
        size = len(self.vectors)
        with cores.limited(self.threads, faiss.omp_get_max_threads, faiss.omp_set_num_threads):
            scores, ids = faiss.knn(queries, self.vectors, min(k + 1, size), metric=faiss.METRIC_INNER_PRODUCT)
        if k < size:  # of equals it takes any
            tied = np.flatnonzero(scores[:, k - 1] == scores[:, k])
            scores, ids = scores[:, :k], ids[:, :k]
            for start in range(0, len(tied), self._rows):
                some = tied[start : start + self._rows]
                scores[some], ids[some] = self._by_torch(queries[some], k)
        return scores, ids

    def _by_torch(self, queries: Floats, k: int) -> tuple[Floats, Ids]:
        import torch

        with _full_precision(), cores.limited(self.threads, torch.get_num_threads, torch.set_num_threads):
            products = torch.from_numpy(queries).to(self.device) @ self._tensor.T
            columns = top(products, k)
        return products.gather(1, columns).cpu().numpy(), columns.cpu().numpy()

    @cached_property
    def _tensor(self) -> Tensor:
        import torch

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a file that is only read; nothing here writes to it
            return torch.from_numpy(self.vectors).to(self.device)


@register("exact", has_ef=False)
class Exact(ExactIndex):
    """Exact search on the CPU as an engine: it has no graph, and no ``seed`` changes what it finds."""

    def __init__(self, vectors: Floats, config: IndexConfig, seed: int = 0) -> None:
        super().__init__(vectors, threads=config.threads)

    @classmethod
    def load(cls, path: Path, vectors: Floats, config: IndexConfig) -> Exact:
        """The index of the same ``vectors`` and ``config``."""
        return cls(vectors, config)


def _faiss() -> Any:
    """The faiss module, or None where it is not installed."""
    try:
        import faiss
    except ImportError:
        return None
    return faiss


def top(scores: Tensor, k: int) -> Tensor:
    """[q, k] columns of the ``k`` highest of ``scores`` ``[q, P]``, in any order; of equals, the first.

    Where the last score taken equals the first one left out, ``topk`` alone would choose between them by
    chance of its implementation.
    """
    import torch

    values, columns = scores.topk(min(k + 1, scores.shape[1]), dim=1)
    last, columns = values[:, k - 1 : k], columns[:, :k]
    tied = (values[:, k:] == last).any(dim=1)
    if tied.any():
        rows, last = scores[tied], last[tied]
        above, equal = rows > last, rows == last
        room = k - above.sum(dim=1, keepdim=True)
        keep = above | (equal & (equal.cumsum(dim=1, dtype=torch.int32) <= room))
        columns[tied] = keep.nonzero()[:, 1].view(-1, k)
    return columns


@contextmanager
def _full_precision() -> Iterator[None]:
    """Products in float32 proper: training may have allowed TF32, which would reorder near-equal scores."""
    import torch

    allowed = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(allowed)
