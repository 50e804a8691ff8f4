"""Strategies made of others: in stages, each from the weights of the one before, or with additions to a loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, make_dataclass, replace
from functools import cache
from typing import Any, TypeVar, cast

import torch
from torch import nn

from strategies.base import Addition, Knob, Strategy, Tunable, additions, registered
from strategies.batch import Batch, Loss
from strategies.batches import Batches
from strategies.examples import Examples
from strategies.negatives import Guide, Negatives

JOIN, ADD = "+", ":"

C = TypeVar("C", bound="Composed")


@dataclass(frozen=True)
class Composed(Strategy):
    """Base of what is made of parts: every field is one, and its knobs are ``field.knob``."""

    def __post_init__(self) -> None:
        pass  # every part has checked its own

    @property
    def parts(self) -> tuple[Any, ...]:
        """The parts, in order of declaration."""
        return tuple(getattr(self, f.name) for f in fields(self))

    @classmethod
    def knobs(cls) -> tuple[Knob, ...]:
        kinds = ((f.name, cast("type[Tunable]", f.default_factory)) for f in fields(cls))
        return tuple(replace(k, name=f"{name}.{k.name}") for name, kind in kinds for k in kind.knobs())


@dataclass(frozen=True)
class Chain(Composed):
    """Base of staged strategies: every field is a strategy."""

    def stages(self) -> tuple[Strategy, ...]:
        return self.parts

    def loss(self, batch: Batch) -> Loss:
        raise TypeError("a chain has no loss of its own; its stages have")


@dataclass(frozen=True)
class Extended(Composed):
    """Base of a strategy with additions to its loss: the first field is the strategy, the others are the additions.

    It declares what the strategy declares.
    """

    @property
    def strategy(self) -> Strategy:
        """The strategy without the additions."""
        return cast(Strategy, self.parts[0])

    @property
    def negatives(self) -> Negatives:
        return self.strategy.negatives

    @property
    def examples(self) -> Examples:
        return self.strategy.examples

    @property
    def batches(self) -> Batches:
        return self.strategy.batches

    @property
    def guide(self) -> Guide | None:
        return self.strategy.guide

    def head(self, dim: int) -> nn.Module | None:
        return self.strategy.head(dim)

    def loss(self, batch: Any) -> Loss:
        further: tuple[Addition, ...] = self.parts[1:]
        return replace(self.strategy.loss(batch), added=torch.stack([part.term(batch) for part in further]).sum())


@cache
def find(name: str) -> type[Strategy]:
    """The strategy of a name: ``a+b`` is the chain of ``a``, then ``b``, and ``a:x`` is ``a`` with the addition ``x``.

    Raises ``KeyError`` for an unknown one.
    """
    known, known_additions = registered(), additions()
    stages = name.split(JOIN)
    if len(stages) > 1:
        return _made(name, Chain, [(stage, _not_staged(stage)) for stage in stages], f"{', then '.join(stages)}.")
    first, *further = name.split(ADD)
    if not further:
        return known[name]
    parts = [(first, _not_staged(first)), *((part, known_additions[part]) for part in further)]
    made = _made(name, Extended, parts, f"{first} with {' and '.join(further)} added to its loss.")
    made.mechanism = known[first].mechanism
    return made


def _not_staged(name: str) -> type[Strategy]:
    kind = find(name)
    if issubclass(kind, Chain):
        raise KeyError(f"{name} (a chain itself)")
    return kind


def _made(name: str, base: type[C], parts: Sequence[tuple[str, type[Tunable]]], summary: str) -> type[C]:
    """The composition of named ``parts``; of equal names the later ones get a number."""
    declared: list[tuple[str, type, Any]] = []
    for part, kind in ((part.replace(ADD, "_"), kind) for part, kind in parts):
        again = sum(taken.partition("_again")[0] == part for taken, _, _ in declared)
        declared.append((part + (f"_again{again}" if again else ""), kind, field(default_factory=kind)))
    made = cast("type[C]", make_dataclass("Composition", declared, bases=(base,), frozen=True))
    made.__doc__, made.name = summary, name
    return made
