"""What a comparison comes to, in three sentences: which strategy, how much better and how sure, at what price."""

from __future__ import annotations

from bench.compare.comparison import LEVEL, Comparison, Row
from reports.blocks import listed
from reports.comparison import p_value

MOST = 4  # strategies that are named


def verdict(comparison: Comparison, against: str | None = None) -> tuple[str, ...]:
    """The sentences, strategies between backquotes. ``against`` is the strategy that gains are told on."""
    if not comparison.pairs:
        return _unsure(comparison)
    return _which(comparison), _how_much(comparison, against), _price(comparison)


def _which(comparison: Comparison) -> str:
    metric, first = comparison.metric, comparison.rows[0]
    value = first.metrics[metric]
    found = f"{value.mean:.1f} (95 % interval {value.low:.1f} to {value.high:.1f} over {value.n} seeds)"
    tied = comparison.leaders[1:]
    others = sum(bool(row.letters) for row in comparison.rows) - 1
    untested = len(comparison.rows) - others - 1
    more = f" ({untested} more were not tested)" if untested else ""
    if not tied:
        rest = "the other" if others == 1 else f"each of the {others} others"
        return f"{_named(first)} is best: {metric} {found}, higher for real than {rest}{more}."
    beaten = others - len(tied)
    told = f"; it is higher for real than the {beaten} further" if beaten else ""
    return (
        f"{_named(first)} has the highest {metric}, {found}, but is not told apart from "
        f"{listed([_named(comparison.rows[place]) for place in tied], MOST)}{told}{more}."
    )


def _how_much(comparison: Comparison, against: str | None) -> str:
    metric, first = comparison.metric, comparison.rows[0]
    gains = []
    before = first.before.get(metric)
    if before is not None:
        gains.append(f"{first.metrics[metric].mean - before:+.1f} points on the encoder before training")
    pair = comparison.pair(0, _other(comparison, against))
    if pair is not None:
        how = "a real difference" if pair.adjusted <= LEVEL else "which may be chance"
        sure = f"95 % interval {pair.low:+.1f} to {pair.high:+.1f}, p {p_value(pair)}, {how}"
        gains.append(f"{pair.difference:+.1f} ({sure}) on {_named(comparison.rows[pair.second])}")
    return f"That is {' and '.join(gains)}."


def _other(comparison: Comparison, against: str | None) -> int:
    """The best tested row of the strategy ``against``, or else the next after the first."""
    rows = enumerate(comparison.rows)
    named = (place for place, row in rows if place and row.letters and row.cell.strategy == against)
    return next(named, 1)


def _price(comparison: Comparison) -> str:
    """What the first row costs, and the best of those that are as good and a tenth cheaper."""
    metric, first = comparison.metric, comparison.rows[0]
    texts = first.cost.get("texts_encoded")
    if not texts:
        return "What it costs was not recorded."
    seconds = [f"{name} {value:,.0f} s" for name in ("train", "mine") if (value := first.cost.get(f"{name}_s"))]
    told = f"It encodes {texts:,.0f} texts" + (f" ({', '.join(seconds)})" if seconds else "")
    for place in comparison.leaders[1:]:
        row = comparison.rows[place]
        cost = row.cost.get("texts_encoded") or texts
        if cost <= 0.9 * texts:
            less = first.metrics[metric].mean - row.metrics[metric].mean
            return (
                f"{told}; {_named(row)}, which is not told apart from it and {less:.1f} lower, encodes {cost:,.0f}, "
                f"{texts / cost:.1f} times less."
            )
    return f"{told}, and nothing as good is cheaper."


def _unsure(comparison: Comparison) -> tuple[str, ...]:
    """What can be said when nothing could be tested."""
    rows, metric = comparison.rows, comparison.metric
    best = max(rows, key=lambda row: row.metrics[metric].mean)
    if len(rows) == 1:
        return (f"Only {_named(best)} was run: {metric} {best.metrics[metric].mean:.1f}.",)
    return (
        f"Nothing is shown to be real: that takes two strategies of two seeds or more. The highest {metric} is "
        f"{best.metrics[metric].mean:.1f}, of {_named(best)}.",
    )


def _named(row: Row) -> str:
    label = row.cell.label.replace("`", "'")
    return f"`{label}`"
