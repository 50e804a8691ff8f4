"""All strategies on all data sets in one figure."""

from __future__ import annotations

from collections.abc import Sequence

from bench.compare.comparison import Comparison
from bench.compare.row import StrategyRow
from reports.figures.layout import framed
from reports.figures.quality import reached
from reports.figures.scales import linear
from reports.figures.style import ACCENT, FAINT, INK, Drawing, short

MOST = 6  # panels
ACROSS = 3  # panels beside each other
LEAST = 3  # tested rows that make a panel


def overview(found: Sequence[tuple[str, Comparison]]) -> Drawing | None:
    """A panel for each of the largest comparisons in which every strategy occurs once, and a line for each strategy.

    Strategies are ordered by their average rank, the best on top.
    """
    panels = [(title, of, rows) for title, of in found if (rows := _tested(of))]
    panels = [panel for panel in panels if panel[1].metric == panels[0][1].metric][:MOST]
    if not panels:
        return None
    ranks: dict[str, list[float]] = {}
    for _, _, rows in panels:
        for place, row in enumerate(rows):
            ranks.setdefault(row.group.strategy, []).append(place / len(rows))
    labels = sorted(ranks, key=lambda label: sum(ranks[label]) / len(ranks[label]))
    note = (
        f"{panels[0][1].metric}, percent: mean and 95 % CI over seeds and {panels[0][1].schema.items}. Blue: not "
        "significantly different from the best. Dashed: before training."
    )
    names = [*map(short, labels)]
    figure, axes = framed(0.2 * len(labels), names, [title for title, _, _ in panels], ACROSS, ticks=0.25, note=note)
    drawing = Drawing(figure, "")
    for axis, (_, of, rows) in zip(axes, panels, strict=True):
        tied = [of.rows[place] for place in of.leaders]
        for row in rows:
            value = row.metrics[of.metric]
            height, colour = labels.index(row.group.strategy), ACCENT if row in tied else INK
            axis.plot([value.low, value.high], [height, height], color=colour, lw=1.4, alpha=0.75)
            (dot,) = axis.plot([value.mean], [height], "o", color=colour, ms=4)
            drawing.hint(
                dot, f"{row.group.label}: {of.metric} {value.mean:.2f}, 95 % CI {value.low:.2f} to {value.high:.2f}"
            )
        before = of.rows[0].before.get(of.metric)
        if before is not None:
            axis.axvline(before, color=FAINT, ls="--", lw=1)
        linear(axis, [*reached(rows, of.metric), *([] if before is None else [before])])
        axis.grid(axis="x", alpha=0.25)
    where = "1 data set" if len(panels) == 1 else f"{len(panels)} data sets"
    best = "; ".join(
        f"{title}: {rows[0].group.strategy} {rows[0].metrics[of.metric].mean:.1f}" for title, of, rows in panels
    )
    drawing.alt = f"{panels[0][1].metric} of {len(labels)} strategies on {where}; best: {best}"
    return drawing


def _tested(of: Comparison) -> list[StrategyRow]:
    """The tested rows, the best first; empty where they are few or a strategy has several rows."""
    rows = [row for row in of.rows if row.letters]
    return rows if len(rows) == len({row.group.strategy for row in rows}) >= LEAST else []
