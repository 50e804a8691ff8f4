"""A study's metric against the settings it varied: one panel a setting, one colour a strategy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from reports.figures.layout import SMALL, fits, framed, legend_below, size_of, widest
from reports.figures.scales import linear, logarithmic, plain_y
from reports.figures.style import Drawing, short

_NO_SETTING = ("strategy", "number", "state", "value", "started", "ended")
ACROSS = 2  # panels beside each other
TALL = 1.9  # inches of a panel
NARROWEST = 2.3  # inches: a panel is never narrower
MOST = 20  # characters of a choice


def response(trials: pd.DataFrame, told: Mapping[str, Any]) -> Drawing | None:
    """The figure of a study's ``trials.parquet`` and ``study.json``; None where nothing was varied.

    In a search, a ring marks the best trial of each strategy.
    """
    complete = _with_nulls(trials[trials.state == "complete"])
    settings = [column for column in map(str, trials) if column not in _NO_SETTING and complete[column].nunique() > 1]
    if not settings:
        return None
    measure = told["selected_by"] or told["comparison"]["metric"]
    strategies = sorted(map(str, complete.strategy.unique()))
    named = [*map(short, strategies)] if len(strategies) > 1 else []
    words = [[short(choice, MOST) for choice in _choices(complete[setting])] for setting in settings]
    upright = [word for of_one in words if not _level(of_one, NARROWEST) for word in of_one]
    note = f"{measure}, percent, of every trial." + (" A ring marks the best." if told["selected_by"] else "")
    titles = [setting.removeprefix("strategy.") for setting in settings]
    ticks = 0.25 + widest(upright, SMALL)
    figure, axes = framed(TALL, titles=titles, across=ACROSS, ticks=ticks, note=note, legend=named)
    drawing = Drawing(figure, f"{measure} of {len(complete)} trials against {', '.join(settings)}: {told['asks']}")
    for axis, setting, labels in zip(axes, settings, words, strict=True):
        choices = _choices(complete[setting])
        for number, strategy in enumerate(strategies):
            shown = complete[complete.strategy == strategy].dropna(subset=[setting])
            if shown.empty:
                continue
            given, y = shown[setting].to_list(), shown.value.to_list()
            x = [choices.index(str(value)) for value in given] if choices else given
            for at, value, said in zip(x, y, given, strict=True):
                dot = axis.scatter([at], [value], s=18, color=f"C{number % 10}", alpha=0.85)
                drawing.hint(dot, f"{strategy}: {setting}={said}, {measure} {value:.2f}")
            if told["selected_by"] is not None:
                best = y.index(max(y))
                axis.scatter([x[best]], [y[best]], s=75, facecolors="none", edgecolors=f"C{number % 10}")
        if choices:
            axis.set_xlim(-0.5, len(labels) - 0.5)
            level = _level(labels, size_of(axis)[0])
            axis.set_xticks(range(len(labels)), labels, fontsize=SMALL, rotation=0 if level else 90)
        else:
            numbers = [*map(float, complete[setting].dropna())]
            (logarithmic if setting in told["logarithmic"] else linear)(axis, numbers, wanted=numbers)
        plain_y(axis)
        axis.grid(alpha=0.25)
    handles = [axes[0].scatter([], [], s=18, color=f"C{number % 10}") for number in range(len(named))]
    legend_below(figure, handles, named)
    return drawing


def _with_nulls(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials with the word ``null`` where a strategy that has a setting left it out: that is one of its choices."""
    made = trials.copy()
    for setting in (column for column in map(str, trials) if column not in _NO_SETTING):
        known = trials[setting].notna()
        left_out = ~known & trials.strategy.isin(trials.strategy[known])
        if left_out.any():
            made[setting] = trials[setting].astype(object).where(known, None).map(str, na_action="ignore")
            made.loc[left_out, setting] = "null"
    return made


def _choices(values: pd.Series) -> list[str]:
    """The words that a setting had, in order of appearance; none where it had numbers."""
    numeric = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    return [] if numeric else [*dict.fromkeys(map(str, values.dropna()))]


def _level(words: Sequence[str], width: float) -> bool:
    """Whether the words fit beside each other below an axis of ``width`` inches."""
    return fits([(n + 0.5) / len(words) * width for n in range(len(words))], words, SMALL, width)
