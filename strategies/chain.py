"""Strategies in stages: trained one after the other, each starting from the weights of the one before."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, make_dataclass, replace
from functools import cache
from typing import Any, cast

from strategies.base import Knob, Strategy, registered
from strategies.batch import Batch, Loss

JOIN = "+"


@dataclass(frozen=True)
class Chain(Strategy):
    """Base of staged strategies: every field is a strategy, and its knobs are ``field.knob``."""

    def __post_init__(self) -> None:
        pass  # every stage has checked its own

    def stages(self) -> tuple[Strategy, ...]:
        return tuple(getattr(self, f.name) for f in fields(self))

    @classmethod
    def knobs(cls) -> tuple[Knob, ...]:
        kinds = ((f.name, cast("type[Strategy]", f.default_factory)) for f in fields(cls))
        return tuple(replace(k, name=f"{name}.{k.name}") for name, kind in kinds for k in kind.knobs())

    def loss(self, batch: Batch) -> Loss:
        raise TypeError("a chain has no loss of its own; its stages have")


@cache
def find(name: str) -> type[Strategy]:
    """The strategy of a name; ``a+b`` is the chain of ``a``, then ``b``. Raises ``KeyError`` for an unknown one."""
    known = registered()
    if name in known or JOIN not in name:
        return known[name]
    stages: list[tuple[str, type, Any]] = []
    for part in name.split(JOIN):
        kind = known[part]
        if issubclass(kind, Chain):
            raise KeyError(f"{part} (a chain itself)")
        again = sum(taken.partition("_again")[0] == part for taken, _, _ in stages)
        stages.append((part + (f"_again{again}" if again else ""), kind, field(default_factory=kind)))
    made = cast("type[Strategy]", make_dataclass("Stages", stages, bases=(Chain,), frozen=True))
    made.__doc__ = f"{', then '.join(name.split(JOIN))}."
    made.name = name
    return made
