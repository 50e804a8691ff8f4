"""All pairs of rows in one figure: the differences, and which of them are significant."""

from __future__ import annotations

import numpy as np

from bench.compare.comparison import LEVEL, Comparison
from reports.figures.layout import EDGE, SMALL, WIDE, widest
from reports.figures.style import Drawing, short

MOST = 26  # characters of a label
CELL, LEAST = 0.27, 0.14  # inches of a row, and the least that its label needs


def matrix(comparison: Comparison) -> Drawing | None:
    """The difference of each tested pair, row minus column; a dot marks the significant ones."""
    from matplotlib.figure import Figure

    places = sorted({place for pair in comparison.pairs for place in (pair.first, pair.second)})
    if len(places) < 3:
        return None
    labels = [short(comparison.rows[place].group.label, MOST) for place in places]
    at = {place: number for number, place in enumerate(places)}
    values = np.full((len(places), len(places)), np.nan)
    significant = []
    for pair in comparison.pairs:
        first, second = at[pair.first], at[pair.second]
        values[first, second], values[second, first] = pair.difference, -pair.difference
        if pair.adjusted <= LEVEL:
            significant += [(first, second), (second, first)]
    reach = float(np.nanmax(np.abs(values))) or 1.0
    room, scale, head = EDGE + 0.12 + widest(labels, SMALL), 0.75, 0.3
    side = len(places) * max(LEAST, min(CELL, (WIDE - room - scale) / len(places)))
    wide, high = max(WIDE, room + side + scale), head + side + room
    figure = Figure(figsize=(wide, high))
    axis = figure.add_axes((room / wide, room / high, side / wide, side / high))
    bar = figure.add_axes(((room + side + 0.15) / wide, room / high, 0.1 / wide, side / high))
    drawing = Drawing(figure, "")
    drawn = axis.pcolormesh(values, cmap="RdBu", vmin=-reach, vmax=reach, edgecolors="none", rasterized=True)
    if significant:
        axis.plot([c + 0.5 for _, c in significant], [r + 0.5 for r, _ in significant], ".", color="#333333", ms=3.5)
    axis.invert_yaxis()
    middle = [n + 0.5 for n in range(len(places))]
    axis.set_xticks(middle, labels, rotation=90, fontsize=SMALL)
    axis.set_yticks(middle, labels, fontsize=SMALL)
    figure.colorbar(drawn, cax=bar, ticks=[-reach, 0, reach]).ax.set_yticklabels(
        [f"−{reach:.1f}", "0", f"{reach:.1f}"], fontsize=SMALL
    )
    figure.text(EDGE / wide, 1 - 0.05 / high, f"{comparison.metric}, row minus column, points", fontsize=8, va="top")
    drawing.alt = (
        f"Differences in {comparison.metric} of all {len(comparison.pairs)} pairs of rows; a dot marks the "
        f"{len(significant) // 2} that are significant (p ≤ {LEVEL}, corrected for all pairs)"
    )
    return drawing
