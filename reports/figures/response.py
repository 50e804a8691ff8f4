"""A study's metric against the settings it varied: one panel a setting, one colour a strategy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.record.serialize import as_override
from reports.figures.layout import SMALL, fits, framed, legend_below, size_of, widest
from reports.figures.scales import linear, logarithmic, plain, plain_y
from reports.figures.style import Drawing, short

_NO_SETTING = ("strategy", "number", "state", "value", "started", "ended")
ACROSS = 2  # panels beside each other
TALL = 1.9  # inches of a panel
NARROWEST = 2.3  # inches: a panel is never narrower
MOST = 20  # characters of a choice
FEW = 5  # values of a setting that may be None, each with a place of its own
APART = 0.2  # of the axis, between None and the numbers


def response(trials: pd.DataFrame, told: Mapping[str, Any]) -> Drawing | None:
    """The figure of a study's ``trials.parquet`` and ``study.json``; None where nothing was varied.

    In a search, a ring marks the best trial of each strategy.
    """
    complete = trials[trials.state == "complete"]
    asked = [column for column in map(str, trials) if column not in _NO_SETTING]
    panels = [_Panel.of(complete, column, column in told["logarithmic"]) for column in asked]
    panels = [panel for panel in panels if panel.x.nunique() > 1]
    if not panels:
        return None
    settings = [panel.setting for panel in panels]
    measure = told["selected_by"] or told["comparison"]["metric"]
    strategies = sorted(map(str, complete.strategy.unique()))
    named = [*map(short, strategies)] if len(strategies) > 1 else []
    words = [[short(choice, MOST) for choice in panel.choices] for panel in panels]
    upright = [word for of_one in words if not _level(of_one, NARROWEST) for word in of_one]
    note = f"{measure}, percent, of every trial." + (" A ring marks the best." if told["selected_by"] else "")
    titles = [setting.removeprefix("strategy.") for setting in settings]
    ticks = 0.25 + widest(upright, SMALL)
    figure, axes = framed(TALL, titles=titles, across=ACROSS, ticks=ticks, note=note, legend=named)
    drawing = Drawing(figure, f"{measure} of {len(complete)} trials against {', '.join(settings)}: {told['asks']}")
    for axis, panel, labels in zip(axes, panels, words, strict=True):
        for number, strategy in enumerate(strategies):
            own = (complete.strategy == strategy) & panel.x.notna()
            x, y = panel.x[own].to_list(), complete.value[own].to_list()
            if not x:
                continue
            for at, value, said in zip(x, y, panel.said[own], strict=True):
                dot = axis.scatter([at], [value], s=18, color=f"C{number % 10}", alpha=0.85)
                drawing.hint(dot, f"{strategy}: {panel.setting}={said}, {measure} {value:.2f}")
            if told["selected_by"] is not None:
                best = y.index(max(y))
                axis.scatter([x[best]], [y[best]], s=75, facecolors="none", edgecolors=f"C{number % 10}")
        if panel.choices:
            axis.set_xlim(-0.5, len(labels) - 0.5)
            level = _level(labels, size_of(axis)[0])
            axis.set_xticks(range(len(labels)), labels, fontsize=SMALL, rotation=0 if level else 90)
        else:
            panel.label(axis)
        plain_y(axis)
        axis.grid(alpha=0.25)
    handles = [axes[0].scatter([], [], s=18, color=f"C{number % 10}") for number in range(len(named))]
    legend_below(figure, handles, named)
    return drawing


@dataclass(frozen=True)
class _Panel:
    """The places of the trials on the axis of one setting: ``x``, NaN where the strategy does not have it.

    Among a few values, or words, each is a place of its own (``choices``), and so is None. Numbers stand on an axis of
    numbers, and None to the left of them, at ``null``.
    """

    setting: str
    x: pd.Series
    said: pd.Series
    choices: list[str]
    log: bool
    null: float | None = None

    @classmethod
    def of(cls, trials: pd.DataFrame, setting: str, log: bool) -> _Panel:
        """The panel of a setting of ``trials``."""
        given = trials[setting]
        known = given.notna()
        left_out = ~known & trials.strategy.isin(trials.strategy[known])
        said = given.astype(object).map(as_override, na_action="ignore").where(known, None).mask(left_out, "null")
        numeric = pd.api.types.is_numeric_dtype(given) and not pd.api.types.is_bool_dtype(given)
        if not numeric or (left_out.any() and given.nunique() < FEW):
            order = given.sort_values(na_position="first").index if numeric else given.index
            choices = [*dict.fromkeys(said[order].dropna())]
            return cls(setting, said.map(choices.index, na_action="ignore").astype(float), said, choices, log)
        x = given.astype(float)
        if not left_out.any():
            return cls(setting, x, said, [], log)
        low, high = x.min(), x.max()
        null = low / (high / low) ** APART if log else low - APART * (high - low)
        return cls(setting, x.mask(left_out, null), said, [], log, null)

    def label(self, axis: Any) -> None:
        """Label the axis of numbers, and the place of None beside them."""
        numbers = [*map(float, self.x.dropna())]
        (logarithmic if self.log else linear)(axis, numbers, wanted=[] if self.null is not None else numbers)
        if self.null is not None:
            ticks = [tick for tick in axis.get_xticks() if tick >= min(n for n in numbers if n != self.null)]
            names = ["null", *map(plain, ticks)]
            axis.set_xticks([self.null, *ticks], names, fontsize=SMALL)
            axis.minorticks_off()


def _level(words: Sequence[str], width: float) -> bool:
    """Whether the words fit beside each other below an axis of ``width`` inches."""
    return fits([(n + 0.5) / len(words) * width for n in range(len(words))], words, SMALL, width)
