"""Number axes that a person can read: plain numbers, no powers and no offsets, as many as fit beside each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from math import ceil, floor, inf, log, log10
from typing import Any

from reports.figures.layout import fits, size_of

SIZE = 8  # points of a tick's label
MOST = 7  # ticks of an axis
NARROW = 3.0  # least ratio of the ends of a logarithmic axis, so that nearly equal costs stand together
_STEPS = ((1, 1.5, 2, 3, 4, 5, 6, 8), (1, 2, 3, 5), (1, 2, 5), (1, 3), (1,))


def plain(value: float) -> str:
    """``10,000``, ``0.00002``, ``−1.5``: a number without a power of ten, to six figures."""
    return format(Decimal(f"{value + 0.0:.6g}"), ",f").replace("-", "−")


def logarithmic(axis: Any, values: Sequence[float], wanted: Sequence[float] = ()) -> None:
    """Make x logarithmic over positive ``values``, labelled at ``wanted`` if these fit, or else at round numbers."""
    low, high = min(values), max(values)
    more = max((high / low) ** 0.06, (NARROW * low / high) ** 0.5)
    low, high = low / more, high * more
    width, _ = size_of(axis)
    axis.set_xscale("log")
    axis.set_xlim(low, high)
    _set(axis, _chosen(_round(low, high, wanted), lambda tick: log(tick / low) / log(high / low) * width, width))


def linear(axis: Any, values: Sequence[float], wanted: Sequence[float] = ()) -> None:
    """Give x over ``values`` plain labels at ``wanted`` where these fit, or else at round numbers.

    The limits stay as they are where the axis has its own, such as those of bars.
    """
    from matplotlib.ticker import MaxNLocator

    low, high = min(values), max(values)
    if low == high:
        low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    width, _ = size_of(axis)
    more = 0.05 * (high - low)
    low, high = low - more * (low != 0), high + more
    axis.set_xlim(low, high)
    sets: list[Sequence[float]] = [sorted(set(wanted))] if wanted else []
    sets += [MaxNLocator(n, steps=(1, 2, 2.5, 5, 10)).tick_values(low, high) for n in range(MOST, 0, -1)]
    inside = [[tick for tick in ticks if low <= tick <= high] for ticks in sets]
    _set(axis, _chosen(inside, lambda tick: (tick - low) / (high - low) * width, width))


def plain_y(axis: Any) -> None:
    """Give y plain labels."""
    axis.yaxis.set_major_formatter(lambda value, _: plain(value))


def _chosen(sets: Iterable[Sequence[float]], place: Callable[[float], float], width: float) -> Sequence[float]:
    """The first set of two to ``MOST`` ticks whose labels fit, or else one tick near the middle."""

    def fit(ticks: Sequence[float]) -> bool:
        return fits([*map(place, ticks)], [*map(plain, ticks)], SIZE, width)

    alone: Sequence[float] = ()
    for ticks in ([tick for tick in found if fit([tick])] for found in sets):  # without those at the very edge
        if 1 < len(ticks) <= MOST and fit(ticks):
            return ticks
        alone = [min(ticks, key=lambda tick: abs(place(tick) - width / 2))] if ticks else alone
    return alone


def _round(low: float, high: float, wanted: Sequence[float]) -> Iterator[list[float]]:
    """Sets of ticks from ``low`` to ``high``, the closest first."""
    if wanted:
        yield sorted(set(wanted))
    powers = range(floor(log10(low)), ceil(log10(high)) + 1)
    for steps in _STEPS:
        yield [tick for power in powers for step in steps if low <= (tick := _exact(step, power)) <= high]
    for every in range(2, len(powers)):
        yield [tick for power in powers[::every] if low <= (tick := _exact(1, power)) <= high]


def _exact(step: float, power: int) -> float:
    """``step`` times ten to the ``power``, without the error of a product."""
    return float(f"{step}e{power}") if -300 < power < 300 else inf


def _set(axis: Any, ticks: Sequence[float]) -> None:
    axis.set_xticks(list(ticks), [*map(plain, ticks)], fontsize=SIZE)
    axis.minorticks_off()
