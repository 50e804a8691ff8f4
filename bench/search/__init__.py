"""Nearest-neighbour search on plain numpy arrays: one file an engine, found by itself.

See :mod:`bench.search.base` for the contract. No engine's library is imported before an index is built.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from bench.search.base import Index, IndexConfig, build, load, registered
from bench.search.exact import ExactIndex

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = ["ExactIndex", "Index", "IndexConfig", "build", "load", "registered"]
