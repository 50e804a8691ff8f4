"""All pairs of rows in one figure: the differences, and which of them are significant."""

from __future__ import annotations

import numpy as np

from bench.compare.comparison import LEVEL, Comparison
from reports.figures.style import WIDE, Drawing, short


def matrix(comparison: Comparison) -> Drawing | None:
    """The difference of each tested pair, row minus column; a dot marks the significant ones."""
    from matplotlib.figure import Figure

    places = sorted({place for pair in comparison.pairs for place in (pair.first, pair.second)})
    if len(places) < 3:
        return None
    labels = [short(comparison.rows[place].group.label) for place in places]
    at = {place: number for number, place in enumerate(places)}
    values = np.full((len(places), len(places)), np.nan)
    significant = []
    for pair in comparison.pairs:
        first, second = at[pair.first], at[pair.second]
        values[first, second], values[second, first] = pair.difference, -pair.difference
        if pair.adjusted <= LEVEL:
            significant += [(first, second), (second, first)]
    reach = float(np.nanmax(np.abs(values))) or 1.0
    side, room = min(4.6, 0.27 * len(places)), 0.15 + 0.062 * max(map(len, labels))
    height = side + 0.9 * room + 0.1
    figure = Figure(figsize=(WIDE, height))
    axis = figure.add_axes((room / WIDE, 0.9 * room / height, side / WIDE, side / height))
    scale = figure.add_axes(((room + side + 0.2) / WIDE, (0.9 * room + 0.2 * side) / height, 0.02, 0.6 * side / height))
    drawing = Drawing(figure, "")
    drawn = axis.pcolormesh(values, cmap="RdBu", vmin=-reach, vmax=reach, edgecolors="none", rasterized=True)
    if significant:
        axis.plot([c + 0.5 for _, c in significant], [r + 0.5 for r, _ in significant], ".", color="#333333", ms=3.5)
    axis.invert_yaxis()
    middle = [n + 0.5 for n in range(len(places))]
    axis.set_xticks(middle, labels, rotation=60, ha="right", fontsize=7.5)
    axis.set_yticks(middle, labels, fontsize=7.5)
    figure.colorbar(drawn, cax=scale, label=f"{comparison.metric}, row minus column, points")
    drawing.alt = (
        f"Differences in {comparison.metric} of all {len(comparison.pairs)} pairs of rows; a dot marks the "
        f"{len(significant) // 2} that are significant (p ≤ {LEVEL}, Holm)"
    )
    return drawing
