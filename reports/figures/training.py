"""Figures of training: learning curves, and how hard the negatives were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.compare.comparison import Comparison
from reports.curves import Histories, curves, on_dev
from reports.figures.layout import framed, legend_below
from reports.figures.quality import few
from reports.figures.scales import linear, plain_y
from reports.figures.style import ACCENT, OTHER, Drawing, short


def learning(comparison: Comparison, histories: Histories) -> Drawing | None:
    """The dev metric by step, or, where training was not evaluated, the positive's lead; seeds averaged.

    The lead is the cosine of the positive minus that of the batch's hardest negative. Unlike losses, it has the same
    unit for all strategies.
    """
    name, found = on_dev(comparison, histories)
    what = f"{name}, percent"
    if not any(curve.means for curve in found):
        found = curves(comparison, histories, _lead)
        what = "cosine of the positive minus that of the hardest negative"
    lines = [(list(curve.means), list(curve.means.values())) for curve in found]
    if not any(len(steps) > 1 for steps, _ in lines):
        return None
    shown = few(comparison)
    named = [short(comparison.rows[place].group.label) for place in shown if len(lines[place][0]) > 1]
    figure, (axis,) = framed(2.6, titles=[f"{what}, by optimiser step"], ticks=0.25, legend=named)
    drawing = Drawing(figure, "")
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
    linear(axis, [step for steps, _ in lines if len(steps) > 1 for step in (steps[0], steps[-1])])
    plain_y(axis)
    axis.grid(alpha=0.25)
    legend_below(figure, *axis.get_legend_handles_labels())
    drawing.alt = f"Learning curves of {len(comparison.rows)} rows: {what}, by optimiser step, averaged over seeds"
    return drawing


def _lead(event: Mapping[str, Any]) -> float | None:
    positive, hardest = event.get("positive_similarity"), event.get("hardest_similarity")
    return None if positive is None or hardest is None else positive - hardest


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
    figure, axes = framed(0.2 * len(rows) + 0.05, labels, [*panels.values()], across=2)
    drawing = Drawing(figure, "")
    for axis, (name, title) in zip(axes, panels.items(), strict=True):
        for place, (row, told) in enumerate(zip(rows, telemetry, strict=True)):
            if name in told:
                (bar,) = axis.barh(place, told[name], color=ACCENT, height=0.62)
                drawing.hint(bar, f"{row.group.label}: {title} {told[name]:.3g}")
        linear(axis, [0.0, *(told[name] for told in telemetry if name in told)])
        axis.grid(axis="x", alpha=0.25)
    drawing.alt = f"For each of {len(rows)} rows: {', '.join(panels.values())}"
    return drawing
