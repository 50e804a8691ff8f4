"""Exact and approximate nearest-neighbour search behind one small interface, on plain numpy arrays."""

from bench.search.exact import ExactIndex
from bench.search.hnsw import HnswIndex
from bench.search.index import Index, IndexConfig

__all__ = ["ExactIndex", "HnswIndex", "Index", "IndexConfig"]
