"""Every strategy on every data set at once: the picture that answers first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from textwrap import fill

from bench.compare.comparison import Comparison
from reports.figures.style import ACCENT, FAINT, INK, Drawing, framed, short

MOST = 6  # panels
LEAST = 3  # tested rows that make a panel


def overview(found: Sequence[tuple[str, Comparison]]) -> Drawing | None:
    """A panel for each of the largest comparisons, a line for each row, the best on average on top."""
    panels = [(title, of) for title, of in found if sum(bool(row.letters) for row in of.rows) >= LEAST][:MOST]
    if not panels:
        return None
    ranks: dict[str, list[float]] = {}
    for _, of in panels:
        tested = [name for name, row in zip(_names(of), of.rows, strict=True) if row.letters]
        for place, name in enumerate(tested):
            ranks.setdefault(name, []).append(place / len(tested))
    labels = sorted(ranks, key=lambda label: sum(ranks[label]) / len(ranks[label]))
    figure, axes = framed(0.2 * len(labels) + 1.35, [*map(short, labels)], bottom=0.5, top=0.55, panels=len(panels))
    drawing = Drawing(figure, "")
    for axis, (title, of) in zip(axes, panels, strict=True):
        tied = of.leaders
        for place, (name, row) in enumerate(zip(_names(of), of.rows, strict=True)):
            value = row.metrics[of.metric]
            if not row.letters or value.low is None or value.high is None:
                continue
            height, colour = labels.index(name), ACCENT if place in tied else INK
            axis.plot([value.low, value.high], [height, height], color=colour, lw=1.4, alpha=0.75)
            (dot,) = axis.plot([value.mean], [height], "o", color=colour, ms=4)
            drawing.hint(
                dot, f"{row.cell.label}: {of.metric} {value.mean:.2f}, 95 % {value.low:.2f} to {value.high:.2f}"
            )
        before = of.rows[0].before.get(of.metric)
        if before is not None:
            axis.axvline(before, color=FAINT, ls="--", lw=1)
        axis.set_title(fill(title, 100 // len(panels)), fontsize=7.5)
        axis.grid(axis="x", alpha=0.25)
        axis.tick_params(axis="x", labelsize=7.5)
    axes[0].set_yticks(range(len(labels)), [*map(short, labels)])
    axes[0].set_ylim(len(labels) - 0.4, -0.6)
    figure.supxlabel(
        f"{panels[0][1].metric}, percent; blue: not told apart from the best; dashed: before training", fontsize=8
    )
    drawing.alt = f"{panels[0][1].metric} of {len(labels)} strategies on {len(panels)} data sets; " + "; ".join(
        f"{title.partition(',')[0]}: {of.rows[0].cell.label} {of.rows[0].metrics[of.metric].mean:.1f}"
        for title, of in panels
    )
    return drawing


def _names(of: Comparison) -> list[str]:
    """Rows by their strategy where it has only one, so that they stand with those of other data sets."""
    rows = Counter(row.cell.strategy for row in of.rows)
    return [row.cell.strategy if rows[row.cell.strategy] == 1 else row.cell.label for row in of.rows]
