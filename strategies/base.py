"""The contract of a strategy and the registry that finds them.

A strategy says three things: which negatives it wants, what loss it puts on a batch, and which knobs it has.
It never opens a file, an index or a model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, TypeVar, cast

from torch import nn

from strategies.batch import Loss
from strategies.examples import Examples, LabelledPairs
from strategies.negatives import Guide, InBatch, Negatives


@dataclass(frozen=True)
class Knob:
    """A tunable number or switch of a strategy: its default, the range a search uses, where it is from."""

    name: str
    default: Any
    source: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: tuple[Any, ...] | None = None
    least: float | None = None


def knob(
    default: Any,
    *,
    source: str,
    low: float | None = None,
    high: float | None = None,
    log: bool = False,
    choices: tuple[Any, ...] | None = None,
    least: float | None = None,
) -> Any:
    """Declare a knob as a dataclass field.

    ``low`` and ``high`` bound the search (``log`` when it should be uniform in the logarithm), or ``choices``
    lists all values that are allowed; with none of these the knob is set, never searched. Values below
    ``least``, and of ``log`` knobs those not above 0, are refused. ``source`` names the document the default is from.
    """
    meta = {"source": source, "low": low, "high": high, "log": log, "choices": choices, "least": least}
    return field(default=default, metadata=meta)


@dataclass(frozen=True)
class Strategy(ABC):
    """Base of all strategies: a frozen dataclass whose fields are its knobs.

    Raises ``ValueError`` on construction when a knob has a value that is not among its ``choices`` or is
    below its ``least``.
    """

    name: ClassVar[str]

    def __post_init__(self) -> None:
        for k in self.knobs():
            value = getattr(self, k.name)
            if k.choices is not None and value not in k.choices:
                allowed = ", ".join(map(str, k.choices))
                raise ValueError(f"strategy.{k.name}={value!r} is not one of {allowed}")
            if k.log and value is not None and value <= 0:
                raise ValueError(f"strategy.{k.name}={value} must be above 0")
            if k.least is not None and value is not None and value < k.least:
                raise ValueError(f"strategy.{k.name}={value} must be at least {k.least}")

    @property
    def negatives(self) -> Negatives:
        """Which negatives it wants: by default the batch's."""
        return InBatch()

    @property
    def examples(self) -> Examples:
        """What it is trained on: by default the labelled pairs."""
        return LabelledPairs()

    @property
    def guide(self) -> Guide | None:
        """Whose view of the batch the loss wants to see, if any."""
        return None

    def stages(self) -> tuple[Strategy, ...]:
        """The strategies that are trained one after the other, each from where the one before ended."""
        return (self,)

    @classmethod
    def knobs(cls) -> tuple[Knob, ...]:
        """The strategy's knobs, in order of declaration."""
        return tuple(Knob(f.name, f.default, **f.metadata) for f in fields(cls))

    def head(self, dim: int) -> nn.Module | None:
        """A module with weights of its own that the loss puts on vectors of length ``dim``; by default none.

        It is trained and checkpointed beside the encoder, and is no part of the encoder that is saved.
        """
        return None

    @abstractmethod
    def loss(self, batch: Any) -> Loss:
        """The loss of one batch, a function of embeddings alone.

        ``batch`` is a :class:`strategies.Batch`, or a :class:`strategies.LabelledBatch` where ``examples`` are pairs
        with a label.
        """


S = TypeVar("S", bound=type[Strategy])

_registry: dict[str, type[Strategy]] = {}


def register(name: str) -> Callable[[S], S]:
    """Class decorator: make a strategy known under ``name``. Raises ``ValueError`` when the name is taken."""

    def add(cls: S) -> S:
        if name in _registry:
            raise ValueError(f"two strategies are called {name!r}")
        cls.name = name
        _registry[name] = cls
        return cls

    return add


def registered() -> dict[str, type[Strategy]]:
    """All strategies by name, in alphabetical order. Importing :mod:`strategies` fills the registry."""
    return cast("dict[str, type[Strategy]]", dict(sorted(_registry.items())))
