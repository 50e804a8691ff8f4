"""A study's metric against the settings it varied: one panel a setting, one colour a strategy."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill
from typing import Any

import pandas as pd

from reports.figures.style import Drawing

_NO_SETTING = ("strategy", "number", "state", "value", "started", "ended")


def response(trials: pd.DataFrame, told: Mapping[str, Any]) -> Drawing | None:
    """The figure of a study's ``trials.parquet`` and ``study.json``; None where nothing was varied.

    In a search, a ring marks the best trial of each strategy.
    """
    complete = trials[trials.state == "complete"]
    settings = [column for column in map(str, trials) if column not in _NO_SETTING and complete[column].nunique() > 1]
    if not settings:
        return None
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    columns = min(3, len(settings))
    rows = -(-len(settings) // columns)
    figure = Figure(figsize=(3.6 * columns + 0.6, 2.9 * rows + 0.7), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True)
    measure = told["selected_by"] or told["comparison"]["metric"]
    drawing = Drawing(figure, f"{measure} of {len(complete)} trials against {', '.join(settings)}: {told['asks']}")
    for axis, setting in zip(axes.flat, settings, strict=False):
        for number, (strategy, of_strategy) in enumerate(complete.groupby("strategy")):
            shown = of_strategy.dropna(subset=[setting])
            if shown.empty:
                continue
            numeric = pd.api.types.is_numeric_dtype(shown[setting])
            x = shown[setting].to_list() if numeric else shown[setting].map(str).to_list()
            y = shown.value.to_list()
            axis.scatter([], [], color=f"C{number}", label=str(strategy))
            for at, value in zip(x, y, strict=True):
                dot = axis.scatter([at], [value], s=22, color=f"C{number}", alpha=0.85)
                drawing.hint(dot, f"{strategy}: {setting}={at}, {measure} {value:.2f}")
            if not numeric:
                axis.tick_params(axis="x", rotation=20)
            if told["selected_by"] is None:
                continue
            best = y.index(max(y))
            axis.scatter([x[best]], [y[best]], s=90, facecolors="none", edgecolors=f"C{number}")
        if setting in told["logarithmic"]:
            axis.set_xscale("log")
            axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=8))
            axis.xaxis.set_major_formatter("{x:g}")
            axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_xlabel(setting.removeprefix("strategy."))
        axis.grid(alpha=0.25)
    for axis in axes.flat[len(settings) :]:
        axis.set_visible(False)
    for row in axes:
        row[0].set_ylabel(f"{measure}, percent")
    if complete.strategy.nunique() > 1:
        named = {
            label: handle
            for axis in axes.flat
            for handle, label in zip(*axis.get_legend_handles_labels(), strict=False)
        }
        figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle(fill(told["asks"], 52 * columns), fontsize=10)
    return drawing
