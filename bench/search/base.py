"""What an index is: its interface, its settings, and the rules every kind of index keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from bench.data.dataset import Floats, Ids
from bench.errors import UserError, at_least


class Index(Protocol):
    """Vectors of a corpus, searched by inner product (cosine, for unit vectors)."""

    def search(self, queries: Floats, k: int) -> tuple[Floats, Ids]:
        """The ``k`` best passages of each query: scores ``[Q, k]`` and passage ids ``[Q, k]``.

        ``queries`` is ``[Q, d]``. Best first; equal scores stand in order of id. Raises
        :class:`UserError` when the index has fewer than ``k`` passages or cannot return ``k``.
        """
        ...


@dataclass(frozen=True)
class IndexConfig:
    """Settings of the HNSW graph; the defaults are those of the documented PaddleNLP recall script.

    ``m`` links a node, ``ef_construction`` and ``ef`` candidates held while building and while searching,
    ``threads`` to build and search with (0: all cores). With one thread equal vectors and an equal seed
    build the same graph; with more, the graph depends on the order in which the threads get there, and a
    recall may differ by a few queries between two builds.
    """

    m: int = 100
    ef_construction: int = 100
    ef: int = 100
    threads: int = 0

    def __post_init__(self) -> None:
        at_least("index.m", self.m, 2)
        at_least("index.ef_construction", self.ef_construction, 1)
        at_least("index.ef", self.ef, 1)
        at_least("index.threads", self.threads, 0)

    def check(self, k: int) -> None:
        """Raise :class:`UserError` when ``ef`` is too small to return ``k`` passages."""
        if self.ef < k:
            raise UserError(f"index.ef={self.ef} is smaller than k={k}; set index.ef to at least {k}")


def checked(vectors: Floats, what: str) -> Floats:
    """``vectors`` ``[n, d]`` as contiguous float32. Raises :class:`UserError` where one is not finite."""
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        row = int(finite.argmin())
        raise UserError(f"the embedding of {what} {row} is not finite; the encoder has diverged")
    return np.ascontiguousarray(vectors, dtype=np.float32)


def check_k(k: int, size: int) -> None:
    """Raise :class:`UserError` unless ``k`` passages can be asked of an index of ``size``."""
    at_least("k", k, 1)
    if k > size:
        raise UserError(f"k={k} but the index has {size} passages; ask for at most {size}")


def best_first(scores: Floats, ids: Ids) -> tuple[Floats, Ids]:
    """Scores and ids ``[Q, k]``, each row sorted by falling score, then by rising id."""
    order = np.lexsort((ids, -scores), axis=1)
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(ids, order, axis=1)
