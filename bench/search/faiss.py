"""Approximate search with an HNSW graph, by faiss (``IndexHNSWFlat``)."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from bench import cores
from bench.data.dataset import Floats, Ids
from bench.search.base import IndexConfig, best_first, check_k, checked, register, too_few


@register("faiss", package="faiss", extra="cpu")
class FaissIndex:
    """HNSW over the inner product of ``vectors`` ``[P, d]``; ids are row numbers, scores are inner products.

    ``seed`` draws the levels of the nodes. With one thread that builds, an equal seed gives an equal graph; with
    more threads it does not. faiss keeps one number of threads for the process, which is restored after each call.
    """

    def __init__(self, vectors: Floats, config: IndexConfig, seed: int) -> None:
        faiss = _faiss()
        vectors = checked(vectors, "passage")
        self._size, self._config = len(vectors), config
        self._graph = faiss.IndexHNSWFlat(vectors.shape[1], config.m, faiss.METRIC_INNER_PRODUCT)
        self._graph.hnsw.efConstruction = config.ef_construction
        self._graph.hnsw.efSearch = config.ef
        self._graph.hnsw.rng = faiss.RandomGenerator(seed)
        with _threads(config.builders):
            self._graph.add(vectors)

    def save(self, path: Path) -> None:
        """Write the graph, with its vectors."""
        _faiss().write_index(self._graph, str(path))

    @classmethod
    def load(cls, path: Path, vectors: Floats, config: IndexConfig) -> FaissIndex:
        """The index that :meth:`save` wrote, of the same ``vectors`` and ``config``."""
        self = cls.__new__(cls)
        self._size, self._config = len(vectors), config
        self._graph = _faiss().read_index(str(path))
        self._graph.hnsw.efSearch = config.ef
        return self

    def search(self, queries: Floats, k: int) -> tuple[Floats, Ids]:
        """See :class:`bench.search.Index`; also raises :class:`UserError` when ``ef`` is under ``k``."""
        check_k(k, self._size)
        self._config.check(k)
        with _threads(self._config.searchers):
            scores, ids = self._graph.search(checked(queries, "query"), k)
        if (ids < 0).any():  # faiss fills up with -1
            raise too_few(self._config, k)
        return best_first(scores, ids)


def _faiss() -> Any:
    import faiss

    return faiss


def _threads(count: int) -> AbstractContextManager[None]:
    return cores.limited(count, _faiss().omp_get_max_threads, _faiss().omp_set_num_threads)
