"""Quality of each strategy with intervals, quality against cost, and recall at each cut-off."""

from __future__ import annotations

from collections.abc import Sequence

from bench.compare.comparison import Comparison
from bench.compare.row import StrategyRow
from reports.figures.layout import (
    LINE,
    SMALL,
    framed,
    label_beside,
    legend_below,
    widest,
)
from reports.figures.scales import linear, logarithmic, plain_y
from reports.figures.style import ACCENT, FAINT, INK, OTHER, Drawing, short

MOST = 30  # characters of a label beside a plot


def forest(comparison: Comparison) -> Drawing:
    """Mean and 95 % CI over seeds and queries of every row; the untrained encoder is a dashed line."""
    metric, rows, items = comparison.metric, comparison.rows, comparison.schema.items
    before = rows[0].before.get(metric)
    note = (
        f"{metric}, percent: mean and 95 % CI over seeds and {items}. Blue: not significantly different from the best."
        f"{' Dashed: before training.' if before is not None else ''}"
    )
    figure, (axis,) = framed(0.23 * len(rows) + 0.1, [_lettered(row) for row in rows], note=note)
    drawing = Drawing(figure, "")
    tied = comparison.leaders
    for place, row in enumerate(rows):
        value, colour = row.metrics[metric], ACCENT if place in tied else INK
        told = f"{row.group.label}: {metric} {value.mean:.2f}, n={value.n}"
        if value.low is not None and value.high is not None:
            (line,) = axis.plot([value.low, value.high], [place, place], color=colour, lw=1.6, alpha=0.75)
            told += f", 95 % CI {value.low:.2f} to {value.high:.2f}"
            drawing.hint(line, told)
        (dot,) = axis.plot([value.mean], [place], "o", color=colour, ms=5, mfc=colour if value.n > 1 else "none")
        drawing.hint(dot, told)
    if before is not None:
        drawing.hint(axis.axvline(before, color=FAINT, ls="--", lw=1), f"before training: {before:.2f}")
    linear(axis, [*reached(rows, metric), *([] if before is None else [before])])
    axis.grid(axis="x", alpha=0.25)
    first, last = rows[0], rows[-1]
    drawing.alt = (
        f"{metric} of {len(rows)} rows with 95 % CI over seeds and {items}, from {first.group.label} at "
        f"{first.metrics[metric].mean:.1f} to {last.group.label} at {last.metrics[metric].mean:.1f}"
    )
    return drawing


def cost(comparison: Comparison) -> Drawing | None:
    """Quality against texts encoded; a line joins the rows whose mean no cheaper row exceeds."""
    metric = comparison.metric
    priced = [row for row in comparison.rows if row.cost.get("texts_encoded")]
    if len(priced) < 2:
        return None
    points = [(float(row.cost["texts_encoded"] or 0), row.metrics[metric].mean, row) for row in priced]
    points.sort(key=lambda point: (point[0], -point[1]))
    front: list[tuple[float, float, StrategyRow]] = []
    for point in points:
        if not front or point[1] > front[-1][1]:
            front.append(point)
    labels = [(texts, mean, short(row.group.label, MOST)) for texts, mean, row in front]
    tall = max(2.4, LINE * SMALL / 72 * len(front))
    beside = 0.25 + widest([label for _, _, label in labels], SMALL)
    note = "Horizontal: texts encoded, in training and mining. Named: the rows whose mean no cheaper row exceeds."
    figure, (axis,) = framed(tall, titles=[f"{metric}, percent"], right=beside, note=note)
    drawing = Drawing(figure, "")
    axis.plot([p[0] for p in front], [p[1] for p in front], color=ACCENT, lw=1, alpha=0.6, drawstyle="steps-post")
    for texts, mean, row in points:
        ahead = any(row is other for _, _, other in front)
        (dot,) = axis.plot([texts], [mean], "o", ms=5.5 if ahead else 4.5, color=ACCENT if ahead else OTHER)
        drawing.hint(dot, f"{row.group.label}: {metric} {mean:.2f} for {texts:,.0f} texts")
    logarithmic(axis, [texts for texts, _, _ in points])
    axis.margins(y=0.1)
    plain_y(axis)
    axis.grid(alpha=0.25)
    label_beside(axis, labels, FAINT)
    names = ", ".join(row.group.label for _, _, row in front)
    drawing.alt = f"{metric} against texts encoded; no cheaper row has a higher mean than {names}"
    return drawing


def recall(comparison: Comparison) -> Drawing | None:
    """Recall against the number of passages retrieved."""
    rows = comparison.rows
    curve = comparison.schema.cut_offs(rows[0].metrics)
    curve = {k: name for k, name in curve.items() if all(name in row.metrics for row in rows)}
    if len(curve) < 2:
        return None
    ks, shown = list(curve), few(comparison)
    before = [value for name in curve.values() if (value := rows[0].before.get(name)) is not None]
    named = [
        *(short(rows[place].group.label) for place in shown),
        *(["before training"] if len(before) == len(ks) else []),
    ]
    title = f"{comparison.schema.curve}, percent, by the number of passages retrieved (k)"
    figure, (axis,) = framed(2.6, titles=[title], ticks=0.25, legend=named)
    drawing = Drawing(figure, "")
    for place in range(len(rows)):
        row, values = rows[place], [rows[place].metrics[name].mean for name in curve.values()]
        bright = place in shown
        (line,) = axis.plot(
            ks,
            values,
            "o-",
            ms=3.5,
            lw=1.8 if bright else 0.9,
            color=f"C{shown.index(place)}" if bright else OTHER,
            label=short(row.group.label) if bright else None,
            zorder=(3 if bright else 1) - place / 1000,  # the best on top
        )
        drawing.hint(line, f"{row.group.label}: " + ", ".join(f"@{k} {v:.1f}" for k, v in zip(ks, values, strict=True)))
    if len(before) == len(ks):
        axis.plot(ks, before, "--", color=FAINT, lw=1.2, label="before training")
    logarithmic(axis, ks, wanted=ks)
    plain_y(axis)
    axis.grid(alpha=0.25)
    legend_below(figure, *axis.get_legend_handles_labels())
    best = rows[0]
    drawing.alt = (
        f"{curve[ks[0]]} to {curve[ks[-1]]}; {best.group.label} goes from "
        f"{best.metrics[curve[ks[0]]].mean:.1f} to {best.metrics[curve[ks[-1]]].mean:.1f}"
    )
    return drawing


def reached(rows: Sequence[StrategyRow], metric: str) -> list[float]:
    """Means and ends of the intervals of ``rows``: what an axis has to hold."""
    values = [row.metrics[metric] for row in rows]
    return [end for value in values for end in (value.mean, value.low, value.high) if end is not None]


def _lettered(row: StrategyRow) -> str:
    label = short(row.group.label)
    return f"{label} · {row.letters}" if row.letters else label


def few(comparison: Comparison, most: int = 6) -> list[int]:
    """Places of at most ``most`` rows to colour, evenly spaced from the first to the last."""
    count = len(comparison.rows)
    if count <= most:
        return list(range(count))
    return sorted({round(n * (count - 1) / (most - 1)) for n in range(most)})
