"""Negative strategies: one file each, registered on import. See :mod:`strategies.base` for the contract."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from strategies.base import Addition, Strategy, additions, knob, register, register_addition, registered
from strategies.batch import Batch, LabelledBatch, Loss
from strategies.chain import Chain, find

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = [
    "Addition",
    "Batch",
    "Chain",
    "LabelledBatch",
    "Loss",
    "Strategy",
    "additions",
    "find",
    "knob",
    "register",
    "register_addition",
    "registered",
]
