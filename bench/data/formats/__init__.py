"""Data formats: one file each, found on import. See :mod:`bench.data.formats.base` for the contract."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from bench.data.formats.base import Format


@cache
def formats() -> tuple[Format, ...]:
    """All formats of files, by the name of their module; the first that fits a path reads it."""
    modules = [import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__)]
    return tuple(module.FORMAT for module in modules if hasattr(module, "FORMAT"))
