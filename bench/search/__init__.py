"""Exact and approximate nearest-neighbour search behind one small interface, on plain numpy arrays."""

from bench.search.base import Index, IndexConfig
from bench.search.exact import ExactIndex
from bench.search.hnswlib import HnswIndex

__all__ = ["ExactIndex", "HnswIndex", "Index", "IndexConfig"]
