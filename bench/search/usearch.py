"""Approximate search with an HNSW graph, by usearch."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.data.dataset import Floats, Ids
from bench.search.base import IndexConfig, best_first, check_k, checked, register, too_few


@register("usearch", package="usearch", extra="usearch")
class UsearchIndex:
    """HNSW over the inner product of ``vectors`` ``[P, d]``; ids are row numbers, scores are inner products.

    usearch takes no seed and always draws the same levels. Here ``seed`` decides the order in which the passages are
    added, which changes the graph. With one thread that builds, an equal seed gives an equal graph; with
    more threads it does not.
    """

    def __init__(self, vectors: Floats, config: IndexConfig, seed: int) -> None:
        from usearch.index import Index as Graph

        vectors = checked(vectors, "passage")
        self._size, self._config = len(vectors), config
        self._graph = Graph(
            ndim=vectors.shape[1],
            metric="ip",
            dtype="f32",
            connectivity=config.m,
            expansion_add=config.ef_construction,
            expansion_search=config.ef,
        )
        order = np.random.default_rng(seed).permutation(self._size)
        self._graph.add(order, vectors[order], threads=config.builders)

    def save(self, path: Path) -> None:
        """Write the graph, with its vectors."""
        self._graph.save(str(path))

    @classmethod
    def load(cls, path: Path, vectors: Floats, config: IndexConfig) -> UsearchIndex:
        """The index that :meth:`save` wrote, of the same ``vectors`` and ``config``."""
        from usearch.index import Index as Graph

        self = cls.__new__(cls)
        self._size, self._config = len(vectors), config
        self._graph = Graph.restore(str(path))
        self._graph.expansion_search = config.ef
        return self

    def search(self, queries: Floats, k: int) -> tuple[Floats, Ids]:
        """See :class:`bench.search.Index`; also raises :class:`UserError` when ``ef`` is under ``k``."""
        check_k(k, self._size)
        self._config.check(k)
        queries = checked(queries, "query")
        found = self._graph.search(queries, k, threads=self._config.searchers)
        shape = len(queries), k
        if found.keys.size < len(queries) * k or (np.asarray(getattr(found, "counts", k)) < k).any():
            raise too_few(self._config, k)
        # usearch's 'ip' distance is 1 - inner product; of a single query it returns one row without its axis
        return best_first(1 - found.distances.reshape(shape), found.keys.reshape(shape).astype(np.int64))
