"""Figures of training: learning curves, and how hard the negatives were."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from textwrap import fill
from typing import Any

import numpy as np

from bench.compare.comparison import Comparison
from bench.record.record import Record
from reports.figures.quality import few
from reports.figures.style import ACCENT, OTHER, Drawing, framed, short

Histories = Callable[[Record], Sequence[Mapping[str, Any]]]
Measure = Callable[[Mapping[str, Any]], float | None]


def learning(comparison: Comparison, histories: Histories) -> Drawing | None:
    """The dev metric by step, or, where training was not evaluated, the positive's lead; seeds averaged.

    The lead is the cosine of the positive minus that of the batch's hardest negative. Unlike losses, it has the same
    unit for all strategies.
    """
    measure = comparison.schema.on_dev(comparison.metric)
    events = [[list(histories(record)) for record in row.group.records] for row in comparison.rows]
    on_dev = any(measure in event for row in events for history in row for event in history)
    measured: Measure = (lambda event: event.get(measure)) if on_dev else _lead
    lines = [_averaged(row, measured) for row in events]
    if not any(len(steps) > 1 for steps, _ in lines):
        return None
    figure, (axis,) = framed(3.5, top=0.35)
    drawing = Drawing(figure, "")
    shown = few(comparison)
    for place, ((steps, values), row) in enumerate(zip(lines, comparison.rows, strict=True)):
        if len(steps) < 2:
            continue
        bright = place in shown
        (line,) = axis.plot(
            steps,
            values,
            lw=1.8 if bright else 0.9,
            color=f"C{shown.index(place)}" if bright else OTHER,
            label=short(row.group.label) if bright else None,
            zorder=3 if bright else 1,
        )
        drawing.hint(line, f"{row.group.label}: from {values[0]:.3g} to {values[-1]:.3g}")
    what = f"{measure}, percent" if on_dev else "cosine of the positive minus that of the hardest negative"
    axis.set_xlabel("optimiser steps")
    axis.set_ylabel(what)
    axis.grid(alpha=0.25)
    axis.legend(fontsize=7.5, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=6, columnspacing=1.2)
    drawing.alt = f"Learning curves of {len(comparison.rows)} rows: {what}, by optimiser step, averaged over seeds"
    return drawing


def _lead(event: Mapping[str, Any]) -> float | None:
    positive, hardest = event.get("positive_similarity"), event.get("hardest_similarity")
    return None if positive is None or hardest is None else positive - hardest


def _averaged(histories: Sequence[Sequence[Mapping[str, Any]]], measured: Measure) -> tuple[np.ndarray, np.ndarray]:
    """Steps at which every seed has a value, and the mean over seeds."""
    by_seed = [
        {event["step"]: value for event in history if "step" in event and (value := measured(event)) is not None}
        for history in histories
    ]
    steps = sorted(set.intersection(*map(set, by_seed))) if by_seed else []
    return np.array(steps), np.array([np.mean([seed[step] for seed in by_seed]) for step in steps])


def hardness(comparison: Comparison, telemetry: Sequence[Mapping[str, float]]) -> Drawing | None:
    """For each row: cosine of the hardest negative, effective negatives, and likely false negatives."""
    panels = {
        "hardest_similarity": "cosine of the hardest negative",
        "effective_negatives": "effective negatives",
        "guide_above": "above the positive by the judge",
        "drawn_above": "above the positive by the miner",
    }
    panels = {name: title for name, title in panels.items() if any(name in told for told in telemetry)}
    if not panels:
        return None
    rows = comparison.rows
    labels = [short(row.group.label) for row in rows]
    figure, axes = framed(0.2 * len(rows) + 0.9, labels, bottom=0.3, top=0.5, panels=len(panels))
    drawing = Drawing(figure, "")
    for axis, (name, title) in zip(axes, panels.items(), strict=True):
        for place, (row, told) in enumerate(zip(rows, telemetry, strict=True)):
            if name in told:
                (bar,) = axis.barh(place, told[name], color=ACCENT, height=0.62)
                drawing.hint(bar, f"{row.group.label}: {title} {told[name]:.3g}")
        axis.set_title(fill(title, 88 // len(panels)), fontsize=7.5)
        axis.grid(axis="x", alpha=0.25)
        axis.tick_params(axis="x", labelsize=7)
        axis.locator_params(axis="x", nbins=3)
    axes[0].set_yticks(range(len(rows)), labels)
    axes[0].set_ylim(len(rows) - 0.4, -0.6)
    drawing.alt = f"For each of {len(rows)} rows: {', '.join(panels.values())}"
    return drawing
