"""What an index is: its interface, its settings, the registry of engines, and the rules that every engine keeps.

A new engine calls :func:`checked` on its vectors and queries, :func:`check_k` before a search and :func:`best_first`
on what it found; those keep the rules.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from bench import cores
from bench.data.dataset import Floats, Ids
from bench.errors import UserError, at_least, at_most, choice, install
from bench.setting import Name

ROWS = 16_384  # vectors that are looked at, or added to a graph, at once


class Index(Protocol):
    """Vectors of a corpus, searched by inner product (cosine, for unit vectors)."""

    def search(self, queries: Floats, k: int) -> tuple[Floats, Ids]:
        """The ``k`` best passages of each query: scores ``[Q, k]`` and passage ids ``[Q, k]``.

        ``queries`` is ``[Q, d]``. Best first; equal scores stand in order of id. Raises
        :class:`UserError` when the index has fewer than ``k`` passages or cannot return ``k``.
        """
        ...

    def save(self, path: Path) -> None:
        """Write what is beside the vectors into the file ``path``, from which :func:`load` reads it."""
        ...


@dataclass(frozen=True)
class IndexConfig:
    """Which engine searches, and the settings of its HNSW graph; the defaults are those of PaddleNLP's
    ``recall.py``.

    ``engine`` is a name of :func:`registered`. ``m`` links a node (twice as many on the lowest level),
    ``ef_construction`` and ``ef`` candidates held while building and while searching; exact search has no use for
    these three. ``threads`` search; 0 is as many as :func:`bench.cores.count`. They do not change what is found.
    ``build_threads`` build the graph, by default one: equal vectors and an equal seed then build the same graph. With
    more (0 is as many as search) the graph depends on the order in which the threads get there, and a recall may differ
    by a few queries between two builds.

    Raises :class:`UserError` for an engine that is not known and for numbers out of range.
    """

    engine: Name = "hnswlib"
    m: int = 100
    ef_construction: int = 100
    ef: int = 100
    threads: int = 0
    build_threads: int | None = None

    def __post_init__(self) -> None:
        choice("index.engine", self.engine, registered())
        at_least("index.m", self.m, 2)
        at_least("index.ef_construction", self.ef_construction, 1)
        at_least("index.ef", self.ef, 1)
        at_least("index.threads", self.threads, 0)
        at_most("index.m", self.m, 10_000)  # what hnswlib allows
        at_most("index.ef_construction", self.ef_construction, 10**6)
        at_most("index.ef", self.ef, 10**6)
        at_most("index.threads", self.threads, 1024)
        if self.build_threads is not None:
            at_least("index.build_threads", self.build_threads, 0)

    @property
    def builders(self) -> int:
        """The number of threads that build the graph."""
        return 1 if self.build_threads is None else self.build_threads or cores.count()

    @property
    def repeats(self) -> bool:
        """Whether equal vectors and an equal seed build the same index."""
        return self.builders == 1 or not _registry[self.engine].has_ef

    @property
    def searchers(self) -> int:
        """The number of threads that search."""
        return self.threads or cores.count()

    @property
    def most(self) -> int:
        """The most passages that one search can return."""
        return self.ef if _registry[self.engine].has_ef else sys.maxsize

    def check(self, k: int) -> None:
        """Raise :class:`UserError` when the engine has an ``ef`` and it is too small to return ``k`` passages."""
        if self.most < k:
            raise UserError(
                f"index.ef={self.ef} is smaller than the {k} passages that are retrieved; set index.ef to at least {k}"
            )

    def require(self) -> None:
        """Import the engine's package. Raises :class:`UserError` that says what to install when it cannot be."""
        _registry[self.engine].require()


class Builder(Protocol):
    """Makes an index of vectors ``[P, d]`` with a seed, or reads one that was saved."""

    def __call__(self, vectors: Floats, config: IndexConfig, seed: int) -> Index: ...

    def load(self, path: Path, vectors: Floats, config: IndexConfig) -> Index: ...


B = TypeVar("B", bound=Builder)


@dataclass(frozen=True)
class Engine:
    """A kind of index under its ``name``. ``make(vectors, config, seed)`` builds one of vectors ``[P, d]``.

    ``package`` is what it imports, if anything, and ``extra`` the optional part of negbench that brings it. ``has_ef``
    tells whether ``config.ef`` bounds what a search can return.
    """

    name: str
    make: Builder
    package: str | None = None
    extra: str = ""
    has_ef: bool = True

    @property
    def installed(self) -> bool:
        """Whether the engine's package can be found, which imports nothing."""
        return self.package is None or find_spec(self.package) is not None

    def require(self) -> None:
        """Import the engine's package. Raises :class:`UserError` that says what to install when it cannot be."""
        if self.package is not None:
            try:
                import_module(self.package)
            except ImportError as error:
                raise UserError(
                    f"index.engine={self.name} needs the package {self.package}: {install(self.extra)}"
                ) from error


_registry: dict[str, Engine] = {}


def register(name: str, package: str | None = None, extra: str = "", has_ef: bool = True) -> Callable[[B], B]:
    """Decorator of a class whose objects are made by ``(vectors, config, seed)``: the engine ``name``, see
    :class:`Engine`.

    Raises ``ValueError`` when the name is taken.
    """

    def add(make: B) -> B:
        if name in _registry:
            raise ValueError(f"two engines of search are called {name!r}")
        _registry[name] = Engine(name, make, package, extra, has_ef)
        return make

    return add


def registered() -> dict[str, Engine]:
    """All engines by name, in alphabetical order. Importing :mod:`bench.search` fills the registry."""
    return dict(sorted(_registry.items()))


def build(vectors: Floats, config: IndexConfig, seed: int) -> Index:
    """The index of vectors ``[P, d]`` that ``config`` asks for; ids are row numbers, scores are inner products.

    Raises :class:`UserError` when a vector is not finite or the engine's package is not installed.
    """
    config.require()
    return _registry[config.engine].make(vectors, config, seed)


def load(path: Path, vectors: Floats, config: IndexConfig) -> Index:
    """The index of ``vectors`` and ``config`` that ``Index.save`` wrote to ``path``.

    Raises :class:`UserError` when the engine's package is not installed, and what the engine raises for a broken file.
    """
    config.require()
    return _registry[config.engine].make.load(path, vectors, config)


def checked(vectors: Floats, what: str) -> Floats:
    """``vectors`` ``[n, d]`` as contiguous float32. Raises :class:`UserError` where one is not finite."""
    for start in range(0, len(vectors), ROWS):
        finite = np.isfinite(vectors[start : start + ROWS]).all(axis=1)
        if not finite.all():
            row = start + int(finite.argmin())
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


def too_few(config: IndexConfig, k: int) -> UserError:
    """What to say when a walk through an HNSW graph ends before it has met ``k`` passages."""
    return UserError(
        f"the HNSW graph reaches fewer than k={k} passages from some query; "
        f"raise index.m={config.m} or index.ef_construction={config.ef_construction}"
    )
