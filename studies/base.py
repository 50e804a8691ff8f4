"""The contract of a study: what varies, what is fixed, over which strategies, and which metric selects."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from strategies import Strategy

DIGITS = 4  # significant digits of a searched number


@dataclass(frozen=True)
class Dimension:
    """One setting that varies: from ``low`` to ``high`` (with ``log`` evenly in the logarithm), or over ``choices``.

    With ``optional`` a setting with a range may also be None: the range that is drawn from begins lower, and what lies
    under ``low``, about a quarter of the whole, is None. Raises ``ValueError`` for a range that cannot be drawn from.
    """

    key: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    whole: bool = False
    choices: tuple[Any, ...] = ()
    optional: bool = False

    def __post_init__(self) -> None:
        if (self.low is None) != (self.high is None) or (self.low is not None and self.choices):
            raise ValueError(f"{self.key} needs both low= and high=, or choices=")
        if self.low is None or self.high is None:
            if self.optional:
                raise ValueError(f"{self.key}: optional=True is for a range; among choices, None is one of them")
            return
        if self.low > self.high:
            raise ValueError(f"{self.key}: low={self.low} must not be above high={self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"{self.key}: low={self.low} must be above 0 for log=True")
        if self.optional and self.shown(self.bounds[0]) is not None:
            raise ValueError(f"{self.key}: nothing lies below low={self.low} for optional=True")

    def up_to(self, limit: int | None) -> Dimension:
        """The dimension without what is above ``limit``; one that is all above it has this one value."""
        if limit is None or self.low is None or self.high is None:
            return self
        return replace(self, low=min(self.low, limit), high=min(self.high, limit))

    @property
    def bounds(self) -> tuple[float, float]:
        """What a sampler draws from. Raises ``ValueError`` for a setting without a range."""
        if self.low is None or self.high is None:
            raise ValueError(f"{self.key} has no range")
        low = self.low
        if self.optional:
            low = self.low / (self.high / self.low) ** (1 / 3) if self.log else self.low - (self.high - self.low) / 3
        if not self.whole:
            return low, self.high
        return max(math.floor(low), 1) if self.log else math.floor(low), math.floor(self.high)

    def shown(self, value: Any) -> Any:
        """The value as it is used and shown."""
        if self.choices:
            return value
        if self.optional and value < self.low:
            return None
        if self.whole:
            return value
        return 0.0 if value == 0 else round(value, DIGITS - 1 - math.floor(math.log10(abs(value))))


def knob(name: str) -> Dimension:
    """The knob ``name`` of the studied strategy, over the range that the strategy declares."""
    return Dimension(f"strategy.{name}")


EVERY_KNOB = Dimension("strategy.*")
"""All knobs of a strategy that have a range or choices."""


@dataclass(frozen=True)
class StudySpec:
    """One study. The file ``studies/NAME.py`` holds it as ``STUDY``.

    ``asks`` is the question in one sentence. ``strategies`` are names, each followed by overrides of its own. Every
    strategy gets ``trials`` trials.

    With ``protocol`` ``search`` a sampler proposes the settings of a trial. The trial runs with ``seeds`` and the
    overrides ``judged``, and its value is ``metric``. The best settings run again with the ``fresh`` seeds on the split
    ``eval.split``; with ``against_default`` the strategy's defaults run beside them. With ``protocol`` ``grid`` every
    combination of the choices runs with ``seeds`` and is reported; nothing is selected.

    ``hold`` are overrides of every run; the command line takes precedence over them. ``report`` is the metric of the
    final comparison. Without them ``metric`` is the metric that selects weights in training, and ``report`` the
    headline of the evaluation. ``differs`` names the aspects in which the compared runs differ on purpose.

    Raises ``ValueError`` for an invalid study.
    """

    asks: str
    vary: tuple[Dimension, ...]
    strategies: tuple[str, ...]
    hold: tuple[str, ...] = ("budget.steps=100", "train.eval_every=0", "encoder.max_passage_tokens=64")
    trials: int = 20
    seeds: tuple[int, ...] = (1,)
    fresh: tuple[int, ...] = (101, 102, 103)
    judged: tuple[str, ...] = ("eval.split=dev", "eval.max_corpus=5000", "eval.untrained=false")
    metric: str = ""
    report: str = ""
    protocol: Literal["search", "grid"] = "search"
    against_default: bool = True
    differs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("vary", "strategies", "hold", "seeds", "fresh", "judged", "differs"):
            if not isinstance(getattr(self, name), tuple):
                raise ValueError(f"{name}={getattr(self, name)!r} is not a tuple; write a single value as (x,)")
        if not self.strategies or len(set(self.strategies)) < len(self.strategies):
            raise ValueError(f"strategies={self.strategies} must name at least one strategy, each once")
        if shared := sorted(set(self.seeds) & set(self.fresh)):
            raise ValueError(
                f"seed {shared[0]} is in both seeds and fresh; the final runs need other seeds than the trials"
            )
        endless = [d.key for d in self.vary if d.low is not None]
        if self.protocol == "grid" and endless:
            raise ValueError(f"a grid needs choices, but {endless[0]} has a range")

    def dimensions(
        self, strategy: type[Strategy], fixed: Collection[str] = (), limits: Mapping[str, int] | None = None
    ) -> tuple[Dimension, ...]:
        """The dimensions that vary for ``strategy``; ``EVERY_KNOB`` becomes its knobs without those in ``fixed``.

        Ranges end at ``limits``, by key. Raises ``ValueError`` for a knob that it does not have.
        """
        found: list[Dimension] = []
        whole = {f"strategy.{k.name}" for k in strategy.knobs() if k.whole}
        for wanted in self.vary:
            if not wanted.key.startswith("strategy.") or wanted.choices or wanted.low is not None:
                found.append(replace(wanted, whole=True) if wanted.low is not None and wanted.key in whole else wanted)
                continue
            known = {d.key: d.up_to((limits or {}).get(d.key)) for d in _declared(strategy)}
            if wanted == EVERY_KNOB:
                found += (d for key, d in known.items() if key not in fixed)
            elif wanted.key in known:
                found.append(known[wanted.key])
            else:
                raise ValueError(f"strategy {strategy.name} has no knob {wanted.key.partition('.')[2]} with a range")
        return tuple(found)


def _declared(strategy: type[Strategy]) -> Iterator[Dimension]:
    for k in strategy.knobs():
        key = f"strategy.{k.name}"
        if k.choices is not None and len(k.choices) > 1:
            yield Dimension(key, choices=k.choices)
        elif k.low is not None and k.high is not None:
            yield Dimension(key, k.low, k.high, k.log, k.whole, optional=k.default is None)
