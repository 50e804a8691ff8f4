"""Approximate search with an HNSW graph (Malkov and Yashunin, 2016), by hnswlib."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.data.dataset import Floats, Ids
from bench.search.base import ROWS, IndexConfig, best_first, check_k, checked, register, too_few


@register("hnswlib", package="hnswlib")
class HnswIndex:
    """HNSW over the inner product of ``vectors`` ``[P, d]``; ids are row numbers, scores are inner products.

    ``seed`` draws the levels of the nodes. With one thread that builds, an equal seed gives an equal graph; with
    more threads it does not.
    """

    def __init__(self, vectors: Floats, config: IndexConfig, seed: int) -> None:
        import hnswlib

        vectors = checked(vectors, "passage")
        self._size, self._config = len(vectors), config
        self._graph = hnswlib.Index(space="ip", dim=vectors.shape[1])
        self._graph.init_index(
            max_elements=self._size, M=config.m, ef_construction=config.ef_construction, random_seed=seed
        )
        ids = np.arange(self._size)
        for start in range(0, self._size, ROWS):  # between two blocks Ctrl-C is heard
            some = slice(start, start + ROWS)
            self._graph.add_items(vectors[some], ids[some], num_threads=config.builders)
        self._graph.set_ef(config.ef)

    def save(self, path: Path) -> None:
        """Write the graph, with its vectors."""
        self._graph.save_index(str(path))

    @classmethod
    def load(cls, path: Path, vectors: Floats, config: IndexConfig) -> HnswIndex:
        """The index that :meth:`save` wrote, of the same ``vectors`` and ``config``."""
        import hnswlib

        self = cls.__new__(cls)
        self._size, self._config = len(vectors), config
        self._graph = hnswlib.Index(space="ip", dim=vectors.shape[1])
        self._graph.load_index(str(path), max_elements=self._size)
        self._graph.set_ef(config.ef)
        return self

    def search(self, queries: Floats, k: int) -> tuple[Floats, Ids]:
        """See :class:`bench.search.Index`; also raises :class:`UserError` when ``ef`` is under ``k``."""
        check_k(k, self._size)
        self._config.check(k)
        queries = checked(queries, "query")
        try:
            ids, distances = self._graph.knn_query(queries, k, num_threads=self._config.searchers)
        except RuntimeError as error:  # hnswlib's way to say that a walk ended before it met k passages
            raise too_few(self._config, k) from error
        # hnswlib's 'ip' distance is 1 - inner product
        return best_first(1 - distances, ids.astype(np.int64))
