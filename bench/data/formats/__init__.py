"""Data formats: one file each, found on import. See :mod:`bench.data.formats.base` for the contract."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from bench.data.formats.base import Format


@cache
def formats() -> tuple[Format, ...]:
    """All formats of files, by the name of their module. Raises ``TypeError`` for a module that defines none."""
    found = []
    for name in sorted({module.name for module in iter_modules(__path__)} - {"base", "hub"}):
        module = import_module(f"{__name__}.{name}")
        if not isinstance(getattr(module, "FORMAT", None), Format):
            raise TypeError(f"{module.__name__} defines no FORMAT = Format(...), see bench/data/formats/base.py")
        found.append(module.FORMAT)
    return tuple(found)
