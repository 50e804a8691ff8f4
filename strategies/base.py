"""The contract of a strategy, and the registry of all strategies.

A strategy declares three things: its negatives, its loss on a batch, and its knobs.
It never opens a file, an index or a model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, ClassVar, TypeVar, get_args, get_type_hints

from torch import Tensor, nn

from strategies.batch import Loss
from strategies.batches import Batches, Shuffled
from strategies.examples import Examples, LabelledPairs
from strategies.negatives import Guide, InBatch, Negatives


@dataclass(frozen=True)
class Knob:
    """A tunable number or switch of a strategy: its default, the range that a search uses, and the source of both.

    ``whole`` says that it is a whole number.
    """

    name: str
    default: Any
    source: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: tuple[Any, ...] | None = None
    least: float | None = None
    most: float | None = None
    counts_steps: bool = False
    whole: bool = False


def knob(
    default: Any,
    *,
    source: str,
    low: float | None = None,
    high: float | None = None,
    log: bool = False,
    choices: tuple[Any, ...] | None = None,
    least: float | None = None,
    most: float | None = None,
    counts_steps: bool = False,
) -> Any:
    """Declare a knob as a dataclass field.

    ``low`` and ``high`` bound the search (``log``: uniform in the logarithm), or ``choices`` lists all allowed values.
    A knob with neither is set by hand and never searched. Values below ``least`` and above ``most`` are refused; for
    ``log`` knobs, so are values that are not above 0. ``source`` names the paper, page or program that the default is
    from. ``counts_steps`` says that the mechanism acts only after so many steps: a run that has no more is refused, and
    a search stays below the steps of its runs.
    """
    meta = {"source": source, "low": low, "high": high, "log": log, "choices": choices, "least": least, "most": most}
    return field(default=default, metadata={**meta, "counts_steps": counts_steps})


@dataclass(frozen=True)
class Tunable(ABC):
    """Base of all that has knobs: a frozen dataclass whose fields are the knobs.

    Raises ``ValueError`` on construction when a knob has a value that is not among its ``choices``, is below its
    ``least`` or above its ``most``.
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
            if k.most is not None and value is not None and value > k.most:
                raise ValueError(f"strategy.{k.name}={value} must be at most {k.most}")

    @classmethod
    def knobs(cls) -> tuple[Knob, ...]:
        """The knobs, in order of declaration. Raises ``TypeError`` for a field that is not a knob."""
        return _knobs(cls)


@cache
def _knobs(cls: type[Tunable]) -> tuple[Knob, ...]:
    """The knobs of a class; every construction asks for them, and reading its types takes long."""
    for f in fields(cls):
        if "source" not in f.metadata:
            raise TypeError(f"field {f.name} of {cls.__name__} is no knob; declare it with knob(..., source=...)")
    hints = get_type_hints(cls)
    kinds = {f.name: get_args(hints[f.name]) or (hints[f.name],) for f in fields(cls)}
    return tuple(Knob(f.name, f.default, **f.metadata, whole=int in kinds[f.name]) for f in fields(cls))


@dataclass(frozen=True)
class Strategy(Tunable):
    """Base of all strategies: what they are trained on, with which negatives, and by which loss.

    A run in which a declared mechanism never acted is invalid: no negative had a gradient, or the declared sampling,
    queue or repeated mining added nothing. ``mechanism`` is for a loss that becomes another one where its own idea does
    not apply. It says what ``Loss.acted`` marks and what to set where nothing is marked; it completes the sentence "for
    no query ...": "were the weights of the negatives different; set strategy.concentration above 0".
    """

    mechanism: ClassVar[str] = ""

    @property
    def negatives(self) -> Negatives:
        """The negatives that the loss uses; by default those of the batch."""
        return InBatch()

    @property
    def examples(self) -> Examples:
        """The examples that it is trained on; by default the labelled pairs."""
        return LabelledPairs()

    @property
    def batches(self) -> Batches:
        """Which examples share a batch; by default random ones."""
        return Shuffled()

    @property
    def guide(self) -> Guide | None:
        """The guide or teacher whose view of the batch the loss uses, if any."""
        return None

    def stages(self) -> tuple[Strategy, ...]:
        """The strategies that are trained one after the other, each starting from the weights of the one before."""
        return (self,)

    def stage_names(self) -> tuple[str, ...]:
        """The names of several stages, which stand before their knobs and telemetry; a single one has an empty name."""
        return tuple(vars(self)) if len(self.stages()) > 1 else ("",)

    def head(self, dim: int) -> nn.Module | None:
        """A module with weights of its own that the loss applies to vectors of length ``dim``; by default none.

        It is trained and checkpointed with the encoder, but is not saved as part of it.
        """
        return None

    @abstractmethod
    def loss(self, batch: Any) -> Loss:
        """The loss of one batch, a function of embeddings alone.

        ``batch`` is a :class:`strategies.Batch`, or a :class:`strategies.LabelledBatch` where ``examples`` are pairs
        with a label.
        """


@dataclass(frozen=True)
class Addition(Tunable):
    """Base of what can be added to the loss of any strategy: ``strategy=mnr:spread_out``."""

    @abstractmethod
    def term(self, batch: Any) -> Tensor:
        """Scalar that is added to the loss of ``batch``, a function of embeddings alone, for every kind of batch."""


S = TypeVar("S", bound=type[Strategy])
A = TypeVar("A", bound=type[Addition])

_registry: dict[str, type[Strategy]] = {}
_additions: dict[str, type[Addition]] = {}


def register(name: str) -> Callable[[S], S]:
    """Class decorator: register a strategy as ``name``. Raises ``ValueError`` when the name is taken."""

    def add(cls: S) -> S:
        if name in _registry:
            raise ValueError(f"two strategies are called {name!r}")
        cls.name = name
        _registry[name] = cls
        return cls

    return add


def registered() -> dict[str, type[Strategy]]:
    """All strategies by name, in alphabetical order. Importing :mod:`strategies` fills the registry."""
    return dict(sorted(_registry.items()))


def register_addition(name: str) -> Callable[[A], A]:
    """Class decorator: register an addition to a loss as ``name``."""

    def add(cls: A) -> A:
        cls.name = name
        _additions[name] = cls
        return cls

    return add


def additions() -> dict[str, type[Addition]]:
    """All additions to a loss by name, in alphabetical order."""
    return dict(sorted(_additions.items()))
