"""What a comparison comes to, in three sentences: which strategy, how much better and how sure, at what price."""

from __future__ import annotations

from collections.abc import Sequence

from bench.compare.comparison import Comparison, Row

MOST = 4  # strategies that are named


def verdict(comparison: Comparison) -> tuple[str, ...]:
    """The sentences, in which strategies stand between backquotes."""
    if not comparison.pairs:
        return _unsure(comparison)
    return _which(comparison), _how_much(comparison), _price(comparison)


def _which(comparison: Comparison) -> str:
    metric, first = comparison.metric, comparison.rows[0]
    value = first.metrics[metric]
    found = f"{value.mean:.1f} (95 % interval {value.low:.1f} to {value.high:.1f} over {value.n} seeds)"
    tied = comparison.leaders[1:]
    others = sum(bool(row.letters) for row in comparison.rows) - 1
    if not tied:
        rest = "the other" if others == 1 else f"each of the {others} others"
        return f"{_named(first)} is best: {metric} {found}, higher for real than {rest}."
    beaten = others - len(tied)
    told = f"; it is higher for real than the {beaten} further" if beaten else ""
    return (
        f"{_named(first)} has the highest {metric}, {found}, but is not told apart from "
        f"{_listed([comparison.rows[place] for place in tied])}{told}."
    )


def _how_much(comparison: Comparison) -> str:
    metric, first = comparison.metric, comparison.rows[0]
    gains = []
    before = first.before.get(metric)
    if before is not None:
        gains.append(f"{first.metrics[metric].mean - before:+.1f} points on the encoder before training")
    place = _cheapest(comparison)
    told = "the best of those that encode the fewest texts" if place else "the next"
    pair = comparison.pair(0, place or 1)
    if pair is not None:
        how = "a real difference" if pair.adjusted <= 0.05 else "which may be chance"
        sure = f"95 % interval {pair.low:+.1f} to {pair.high:+.1f}, p {_p(pair.adjusted)}, {how}"
        gains.append(f"{pair.difference:+.1f} ({sure}) on {_named(comparison.rows[pair.second])}, {told}")
    return f"That is {' and '.join(gains)}."


def _price(comparison: Comparison) -> str:
    first = comparison.rows[0]
    texts = first.cost.get("texts_encoded")
    if not texts:
        return "What it costs was not recorded."
    seconds = [f"{name} {value:,.0f} s" for name in ("train", "mine") if (value := first.cost.get(f"{name}_s"))]
    told = f"It encodes {texts:,.0f} texts" + (f" ({', '.join(seconds)})" if seconds else "")
    least, place = min((comparison.rows[p].cost.get("texts_encoded") or texts, p) for p in comparison.leaders)
    if least >= 0.99 * texts:
        return f"{told}, and nothing as good is cheaper."
    return (
        f"{told}; if that is too much, {_named(comparison.rows[place])} is not told apart from it with {least:,.0f}, "
        f"{texts / least:.1f} times less."
    )


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


def _cheapest(comparison: Comparison) -> int:
    """The best of the rows that encode the fewest texts, within a hundredth; 0 where no cost is known."""
    priced = [(texts, place) for place, row in enumerate(comparison.rows) if (texts := row.cost.get("texts_encoded"))]
    tested = [(texts, place) for texts, place in priced if comparison.rows[place].letters]
    least = min((texts for texts, _ in tested), default=0.0)
    return min((place for texts, place in tested if texts <= 1.01 * least), default=0)


def _named(row: Row) -> str:
    return f"`{row.cell.label}`"


def _listed(rows: Sequence[Row]) -> str:
    names = [_named(row) for row in rows[:MOST]]
    if len(rows) > MOST:
        names.append(f"{len(rows) - MOST} more")
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else "below 0.001"
