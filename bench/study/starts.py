"""What a search tries first, so that on dev it never ends below the defaults: a few trials would miss them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from studies.base import Dimension

SPREAD = 3  # values of what is no knob, beside the default knobs


def first_trials(dimensions: Sequence[Dimension], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The parameters of a search's first trials, as Optuna stores them; ``settings`` are the defaults by dotted key.

    The first has the defaults. Where knobs of the strategy vary beside other settings, such as the learning rate, the
    next :data:`SPREAD` have its default knobs, and the ranges of the others divided evenly. There are none where a
    default cannot be proposed: it is not among the choices, or None and not ``optional``.
    """
    given = [(d, settings.get(d.key)) for d in dimensions]
    if any(value not in d.choices if d.choices else value is None and not d.optional for d, value in given):
        return []
    defaults = {d.key: _stored(d, value) for d, value in given}
    others = [d for d in dimensions if not d.choices and not d.key.startswith("strategy.")]
    if not any(d.key.startswith("strategy.") for d in dimensions):
        return [defaults]
    shares = [(place + 0.5) / SPREAD for place in range(SPREAD)] if others else []
    return [defaults, *(defaults | {d.key: _within(d, share) for d in others} for share in shares)]


def _stored(dimension: Dimension, value: Any) -> Any:
    """The parameter that a setting has, within its range."""
    if dimension.choices:
        return dimension.choices.index(value)
    low, high = dimension.bounds
    return low if value is None else min(max(value, low), high)


def _within(dimension: Dimension, share: float) -> float:
    """The value after a ``share`` of the range."""
    low, high = dimension.bounds
    value = low * math.exp(share * math.log(high / low)) if dimension.log else low + share * (high - low)
    return round(value) if dimension.whole else value
