"""What a comparison comes to, in three sentences: which strategy, how much better and how sure, at what price; and
what several come to, a line each."""

from __future__ import annotations

from collections.abc import Sequence

from bench.compare.comparison import LEVEL, Comparison, StrategyRow
from bench.compare.statistics import Pair
from reports.blocks import Cell, Table, amount, listed, number, table
from reports.comparison import p_value

MOST = 4  # strategies that are named
UNLIKE = 0.5  # points by which a gain by exact search is another than by the index


def verdict(comparison: Comparison, against: str | None = None) -> tuple[str, ...]:
    """The sentences, strategies between backquotes. ``against`` is the strategy that gains are told on."""
    if not comparison.pairs:
        return _unsure(comparison)
    return _which(comparison), _how_much(comparison, against), _price(comparison)


def glance(found: Sequence[tuple[str, Comparison]], against: str | None = None) -> Table:
    """The answer of each titled comparison, all of which were tested."""
    metric = "/".join(dict.fromkeys(of.metric for _, of in found))
    header = ["on", "highest", metric, "against", "gain", "p", "exact", "texts", "cheapest alike", "its texts"]
    body = []
    for title, of in found:
        first, gain, cheaper = of.rows[0], _gain(of, against), _cheaper(of)
        sure = [Cell()] * 4
        if gain is not None:
            by = f"{gain.difference:+.1f} ({gain.low:+.1f} to {gain.high:+.1f})"
            real = gain.adjusted <= LEVEL
            sure = [
                Cell(of.rows[gain.second].group.label),
                Cell(by, gain.difference, "95 % interval", strong=real),
                Cell(p_value(gain), gain.adjusted, "real" if real else "may be chance"),
                number(_exact(of, gain), 1, sign=True),
            ]
        body.append(
            [
                title,
                Cell(first.group.label, strong=of.best == 0),
                number(first.metrics[of.metric].mean, 1, hint=of.metric),
                *sure,
                amount(first.cost.get("texts_encoded")),
                cheaper.group.label if cheaper else "none",
                amount(cheaper.cost.get("texts_encoded")) if cheaper else Cell(),
            ]
        )
    return table(header, body, words=2)


def _which(comparison: Comparison) -> str:
    metric, first = comparison.metric, comparison.rows[0]
    value = first.metrics[metric]
    found = f"{value.mean:.1f} (95 % interval {value.low:.1f} to {value.high:.1f} over {value.n} seeds)"
    tied = comparison.leaders[1:]
    others = sum(bool(row.letters) for row in comparison.rows) - 1
    untested = comparison.rows[others + 1 :]
    more = f" ({len(untested)} more {'was' if len(untested) == 1 else 'were'} not tested)" if untested else ""
    if not tied:
        rest = "the other" if others == 1 else f"each of the {others} others"
        return f"{_named(first)} is best: {metric} {found}, higher for real than {rest}{more}."
    beaten = others - len(tied)
    told = f"; it is higher for real than the {beaten if beaten > 1 else 'one'} further" if beaten else ""
    among = " of the tested" if any(row.metrics[metric].mean > value.mean for row in untested) else ""
    return (
        f"{_named(first)} has the highest {metric}{among}, {found}, but is not told apart from "
        f"{listed([_named(comparison.rows[place]) for place in tied], MOST)}{told}{more}."
    )


def _how_much(comparison: Comparison, against: str | None) -> str:
    metric, first = comparison.metric, comparison.rows[0]
    gains = []
    before = first.before.get(metric)
    if before is not None:
        gains.append(f"{first.metrics[metric].mean - before:+.1f} points on the encoder before training")
    pair = _gain(comparison, against)
    if pair is not None:
        how = "a real difference" if pair.adjusted <= LEVEL else "which may be chance"
        sure = f"95 % interval {pair.low:+.1f} to {pair.high:+.1f}, p {p_value(pair)}, {how}"
        gains.append(
            f"{pair.difference:+.1f} ({sure}) on {_named(comparison.rows[pair.second])}{_by_exact(comparison, pair)}"
        )
    return f"That is {' and '.join(gains)}." if gains else "How much that gains is not known."


def _by_exact(comparison: Comparison, pair: Pair) -> str:
    """What exact search makes of the gain, where the index does not lose alike of both rows."""
    exact = _exact(comparison, pair)
    if exact is None or abs(exact - pair.difference) < UNLIKE:
        return ""
    return f", {exact:+.1f} by exact search (the index does not lose alike of both)"


def _exact(comparison: Comparison, pair: Pair) -> float | None:
    """The same difference by exact search, where that was measured too."""
    name = comparison.schema.exact(comparison.metric)
    first, second = (comparison.rows[place].metrics.get(name or "") for place in (pair.first, pair.second))
    return first.mean - second.mean if first and second else None


def _gain(comparison: Comparison, against: str | None) -> Pair | None:
    """The first row tested against the best tested row of the strategy ``against``, or else against the next."""
    rows = enumerate(comparison.rows)
    named = (place for place, row in rows if place and row.letters and row.group.strategy == against)
    return comparison.pair(0, next(named, 1))


def _price(comparison: Comparison) -> str:
    """What the first row costs, and the cheapest that is not told apart from it."""
    metric, first = comparison.metric, comparison.rows[0]
    texts = _texts(first)
    if not texts:
        return "What it costs was not recorded."
    seconds = [f"{name} {value:,.0f} s" for name in ("train", "mine") if (value := first.cost.get(f"{name}_s"))]
    told = f"It encodes {texts:,.0f} texts" + (f" ({', '.join(seconds)})" if seconds else "")
    cheaper = _cheaper(comparison)
    if cheaper is not None:
        less = first.metrics[metric].mean - cheaper.metrics[metric].mean
        return (
            f"{told}; {_named(cheaper)}, the cheapest that is not told apart from it and {less:.1f} lower, encodes "
            f"{_texts(cheaper):,.0f}, {texts / _texts(cheaper):.1f} times less."
        )
    if len(comparison.leaders) > 1:
        return f"{told}, and of those not told apart from it none is known to encode a tenth less."
    return f"{told}, and nothing as good is cheaper."


def _cheaper(comparison: Comparison) -> StrategyRow | None:
    """Of the rows not told apart from the first that with the fewest texts, to two figures, if a tenth fewer."""
    most = 0.9 * _texts(comparison.rows[0])
    rows = [comparison.rows[place] for place in comparison.leaders[1:]]
    fewer = [row for row in rows if 0 < _texts(row) <= most]
    return min(fewer, key=lambda row: float(f"{_texts(row):.2g}"), default=None)


def _texts(row: StrategyRow) -> float:
    """How many texts it encodes; 0 where that was not recorded."""
    return row.cost.get("texts_encoded") or 0.0


def _unsure(comparison: Comparison) -> tuple[str, ...]:
    """What can be said when nothing could be tested."""
    rows, metric = comparison.rows, comparison.metric
    best = max(rows, key=lambda row: row.metrics[metric].mean)
    if len(rows) == 1:
        return (f"Only {_named(best)} was run: {metric} {best.metrics[metric].mean:.1f}.",)
    enough = sum(row.metrics[metric].n > 1 for row in rows) > 1
    why = "the values of single queries cannot be used" if enough else "that takes two strategies of two seeds or more"
    highest = f"The highest {metric} is {best.metrics[metric].mean:.1f}, of {_named(best)}."
    return (f"Nothing is shown to be real: {why}. {highest}",)


def _named(row: StrategyRow) -> str:
    label = row.group.label.replace("`", "'")
    return f"`{label}`"
