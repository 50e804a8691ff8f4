"""What a comparison recommends: an instruction, the evidence for it, and the cost; of several, a table."""

from __future__ import annotations

from collections.abc import Sequence

from bench.compare.comparison import LEVEL, Comparison
from bench.compare.row import StrategyRow, items_of
from bench.compare.statistics import Pair
from reports.blocks import Cell, Code, Row, Table, amount, listed, number, table
from reports.comparison import p_value

MOST = 4  # strategies that are named
UNLIKE = 0.5  # points from which the difference by exact search is reported beside the index's
SAME_COST = 0.1  # relative difference in texts encoded below which two costs count as equal


def verdict(comparison: Comparison, against: str | None = None) -> tuple[str, ...]:
    """An instruction, its evidence and its cost; strategies stand between backquotes.

    ``against`` is the baseline: the strategy that the difference is stated against. Where it was not tested, or is
    itself the best, the difference is from the next row. When nothing could be tested, one statement says why.
    """
    if not comparison.pairs:
        return _untested(comparison, against)
    return _instruction(comparison, against), _evidence(comparison, against), _cost(comparison)


def recommended(comparison: Comparison, against: str | None = None) -> Code | None:
    """The commands of the first row and of the cheapest tied one; None when nothing could be tested.

    The cheapest comes first where the first row is not significantly better than ``against``.
    """
    if not comparison.pairs:
        return None
    pair, cheaper = _difference(comparison, against), _cheaper(comparison)
    rows = [row for row in (comparison.rows[0], cheaper) if row is not None]
    if pair is not None and pair.against_second > LEVEL:
        rows.reverse()
    return Code(tuple(line for row in rows for line in (f"# {row.group.label}", *row.group.commands)))


def start_with(comparison: Comparison) -> tuple[str, tuple[str, ...]]:
    """What to start with after some runs: one sentence with the cost, and the commands that it names.

    Where nothing could be tested it is the row with the highest mean, and the sentence says that it may be chance.
    """
    if commands := recommended(comparison, "in_batch"):
        return verdict(comparison, "in_batch")[0], commands.lines
    best, equal = _highest(comparison)
    value, before = best.metrics[comparison.metric], best.before.get(comparison.metric)
    gained = f" ({value.mean - before:+z.1f} over the encoder before training)" if before is not None else ""
    price = f", for {_texts(best):,.0f} texts encoded" if _texts(best) else ""
    why = "with one seed" if value.n == 1 else f"without values of single {comparison.schema.items}"
    highest = "which other rows have too" if equal else "the highest of these runs"
    sentence = (
        f"Start with {_named(best)}: {comparison.metric} {value.mean:.1f}{gained}{price}, {highest}. "
        f"The difference from the others may be chance: {why} it cannot be tested."
    )
    return sentence, best.group.commands


def glance(found: Sequence[tuple[str, Comparison]], against: str | None = None) -> Table:
    """One line for each titled comparison: its best row, the difference from the baseline, the cost, the command.

    Where the best row is of the baseline's strategy, the difference is from the next row.

    Every comparison must have been tested.
    """
    indexed = any(of.schema.reference is not None for _, of in found)
    header = [
        "data set",
        "best",
        "compared with",
        "difference (95 % CI)",
        "p (corrected for)",
        *(["difference by exact search"] if indexed else []),
        "texts encoded",
        "cheapest statistically tied",
    ]
    alike = len({of.metric for _, of in found}) == 1
    body: list[Row] = []
    for title, of in found:
        first, pair, cheaper = of.rows[0], _difference(of, against), _cheaper(of)
        value = first.metrics[of.metric].mean
        tested = [Cell()] * (3 + indexed)
        if pair is not None:
            by = f"{pair.difference:+z.1f} ({pair.low:+z.1f} to {pair.high:+z.1f})"
            significant = pair.against_second <= LEVEL
            tested = [
                Cell(of.rows[pair.second].group.label),
                Cell(by, pair.difference, f"points of {of.metric}", strong=significant),
                Cell(
                    f"{p_value(pair.against_second, pair)} ({_family(of, pair, against)})",
                    pair.against_second,
                    "significant" if significant else "not significant",
                ),
                *([number(_exact(of, pair), 1, sign=True)] if indexed else []),
            ]
        cells = [
            Cell(title),
            Cell(
                f"{first.group.label} ({'' if alike else f'{of.metric} '}{value:.1f})", value, of.metric, of.best == 0
            ),
            *tested,
            amount(first.cost.get("texts_encoded")),
            Cell(f"{cheaper.group.label} ({_texts(cheaper):,.0f})", _texts(cheaper)) if cheaper else Cell("none"),
        ]
        body.append(Row(tuple(cells), first.group.commands))
    return table(header, body, words=3)


def _instruction(comparison: Comparison, against: str | None) -> str:
    """Which strategy to use: its difference from the baseline, and what is statistically tied and cheaper."""
    metric, first = comparison.metric, comparison.rows[0]
    pair, cheaper = _difference(comparison, against), _cheaper(comparison)
    if pair is None:
        return f"Use {_named(first)}: it has the highest {metric} of the tested rows."
    baseline = comparison.rows[pair.second]
    interval = f"95 % CI {pair.low:+z.1f} to {pair.high:+z.1f}"
    gain, cost = f"{pair.difference:+z.1f} points", _times(first, baseline)
    if pair.against_second <= LEVEL:
        use = f"Use {_named(first)}: {gain} of {metric} over {_named(baseline)} ({interval}){cost}"
        tied = "" if cheaper is None else f"; {_named(cheaper)} is statistically tied, at {_share(cheaper, first)}"
        return f"{use}{tied}."
    if not pair.difference:
        same = f"{_named(baseline)} ({first.metrics[metric].mean:.1f})"
        highest = f"{_named(first)} has the same {metric} as {same}{cost}"
    else:
        corrected = " after correction" if pair.low > 0 else ""
        highest = (
            f"{_named(first)} has the highest {metric}, {gain} over {_named(baseline)} ({interval}, not significant"
            f"{corrected}){cost}"
        )
    if cheaper is None:
        return f"No clear winner: {highest}."
    start = f"start with {_named(cheaper)}, the cheapest statistically tied row"
    at = "" if cheaper is baseline else f", at {_share(cheaper, first)} by {_named(first)}"
    return f"No clear winner: {start}{at}. {highest}."


def _evidence(comparison: Comparison, against: str | None) -> str:
    """The first row's quality, the test against the baseline, and the rows it is significantly better than."""
    metric, first = comparison.metric, comparison.rows[0]
    value, before, pair = first.metrics[metric], first.before.get(metric), _difference(comparison, against)
    gained = f", {value.mean - before:+z.1f} points over the encoder before training" if before is not None else ""
    interval = f"95 % CI {value.low:.1f} to {value.high:.1f}, {value.n} seeds"
    said = [f"{_named(first)} has {metric} {value.mean:.1f} ({interval}){gained}."]
    if pair is not None:
        baseline = comparison.rows[pair.second]
        if against and against not in (first.group.strategy, baseline.group.strategy):
            said.append(f"The baseline `{against}` was not tested here, so the difference is from the next row.")
        is_, p = "is" if pair.against_second <= LEVEL else "is not", p_value(pair.against_second, pair)
        family = _family(comparison, pair, against)
        said.append(f"The difference from {_named(baseline)} {is_} significant (p {p}, corrected for {family}).")
        exact = _exact(comparison, pair)
        if exact is not None and abs(exact - pair.difference) >= UNLIKE:
            said.append(f"By exact search it is {exact:+z.1f}: the index loses more of one row than of the other.")
    return " ".join([*said, *_standing(comparison)])


def _standing(comparison: Comparison) -> list[str]:
    """How the first row compares with all others, and how many of them were not tested."""
    metric, first = comparison.metric, comparison.rows[0]
    tested = sum(bool(row.letters) for row in comparison.rows)
    tied, untested = comparison.leaders[1:], comparison.rows[tested:]
    beaten = tested - 1 - len(tied)
    others = "the other row" if tested == 2 else f"each of the {tested - 1} other rows"
    said = []
    if not tied:
        said.append(f"{_named(first)} is significantly better than {others}.")
    else:
        names = listed([_named(comparison.rows[place]) for place in tied], MOST)
        rest = "the remaining row is" if beaten == 1 else f"the {beaten} remaining rows are"
        worse = f"; {rest} significantly worse than the best" if beaten else ""
        family = " (the best against the rest)" if tested > 2 else ""
        said.append(f"{_named(first)} is not significantly different from {names}{family}{worse}.")
    if untested:
        rows = "1 further row was" if len(untested) == 1 else f"{len(untested)} further rows were"
        higher = [row for row in untested if row.metrics[metric].mean > first.metrics[metric].mean]
        said.append(f"{rows} not tested{'; ' + _named(higher[0]) + ' has a higher mean' if higher else ''}.")
    return said


def _exact(comparison: Comparison, pair: Pair) -> float | None:
    """The same difference by exact search, where that was measured too."""
    name = comparison.schema.exact(comparison.metric)
    first, second = (comparison.rows[place].metrics.get(name or "") for place in (pair.first, pair.second))
    return first.mean - second.mean if first and second else None


def _family(comparison: Comparison, pair: Pair, against: str | None) -> str:
    """The tests among which the p of the first row against the second of ``pair`` is corrected."""
    to_baseline = comparison.rows[pair.second].group.strategy == against
    return "all rows against the baseline" if to_baseline else "the best against the rest"


def _difference(comparison: Comparison, against: str | None) -> Pair | None:
    """The test of the first row against the best tested row of the strategy ``against``, or else against the next."""
    return comparison.pair(0, comparison.baseline(against) or 1)


def _cost(comparison: Comparison) -> str:
    """What the first row costs, and the cheapest row that is statistically tied with it."""
    metric, first = comparison.metric, comparison.rows[0]
    if not _texts(first):
        nothing = first.cost.get("texts_encoded") is not None
        return "No text was encoded in training or mining." if nothing else "The cost was not recorded."
    seconds = [f"{name} {value:,.0f} s" for name in ("train", "mine") if (value := first.cost.get(f"{name}_s"))]
    cost = f"Cost of {_named(first)}: {_texts(first):,.0f} texts encoded" + (
        f" ({', '.join(seconds)})" if seconds else ""
    )
    cheaper = _cheaper(comparison)
    if cheaper is not None:
        lower = first.metrics[metric].mean - cheaper.metrics[metric].mean
        return (
            f"{cost}. The cheapest statistically tied row is {_named(cheaper)}: {_texts(cheaper):,.0f} texts encoded, "
            f"{metric} {lower:.1f} points lower."
        )
    if len(comparison.leaders) > 1:
        return f"{cost}. No statistically tied row is known to cost at least {100 * SAME_COST:.0f} % less."
    return f"{cost}. No row is statistically tied with it."


def _cheaper(comparison: Comparison) -> StrategyRow | None:
    """Of the rows tied with the first the one of fewest texts, to two figures, if a tenth fewer than the first's."""
    most = (1 - SAME_COST) * _texts(comparison.rows[0])
    rows = [comparison.rows[place] for place in comparison.leaders[1:]]
    fewer = [row for row in rows if 0 < _texts(row) <= most]
    return min(fewer, key=lambda row: float(f"{_texts(row):.2g}"), default=None)


def _times(row: StrategyRow, baseline: StrategyRow) -> str:
    """``, at 8.0 times the texts encoded``; nothing where a cost was not recorded."""
    if not (_texts(row) and _texts(baseline)):
        return ""
    ratio = _texts(row) / _texts(baseline)
    if abs(ratio - 1) < SAME_COST:
        return ", at as many texts encoded"
    return f", at {_share(row, baseline)}" if ratio < 1 else f", at {ratio:.1f} times the texts encoded"


def _share(cheaper: StrategyRow, row: StrategyRow) -> str:
    """``10 % of the texts encoded``: those of the cheaper row as a share of the other's."""
    percent = 100 * _texts(cheaper) / _texts(row)
    return f"{'less than 1' if percent < 1 else f'{percent:.0f}'} % of the texts encoded"


def _texts(row: StrategyRow) -> float:
    """How many texts it encodes; 0 where that was not recorded."""
    return row.cost.get("texts_encoded") or 0.0


def _highest(comparison: Comparison) -> tuple[StrategyRow, list[StrategyRow]]:
    """The row of the highest mean, tested or not, and the other rows that have the same."""
    metric = comparison.metric
    first, *others = sorted(comparison.rows, key=lambda row: row.merit(metric))
    return first, [row for row in others if row.metrics[metric].mean == first.metrics[metric].mean]


def _untested(comparison: Comparison, against: str | None) -> tuple[str, ...]:
    """What can be said when nothing could be tested: the highest row, its difference and its price."""
    rows, metric = comparison.rows, comparison.metric
    best, equal = _highest(comparison)
    if len(rows) == 1:
        only = f"only {_named(best)} was run ({metric} {best.metrics[metric].mean:.1f})"
        return (f"No recommendation: {only}. Run another strategy with the same settings.",)
    schema, items = comparison.schema, items_of(best.group.records[0], metric)
    why = f"the values of single {schema.items} cannot be used"
    if sum(row.metrics[metric].n > 1 for row in rows) < 2:
        why = "a test needs at least two strategies with at least two seeds each (seed=1,2,3)"
    elif items == 1:
        why = f"there is only one {schema.item}"
    others = [row for row in rows if row is not best]
    baseline = next((row for row in others if row.group.strategy == against), others[0])
    gain = best.metrics[metric].mean - baseline.metrics[metric].mean
    value = f"{metric}, {best.metrics[metric].mean:.1f}"
    found = f"it has the highest {value}, {gain:+z.1f} points over {_named(baseline)}{_times(best, baseline)}"
    if equal:
        fewest = ", and encodes the fewest texts of these" if _texts(best) < min(map(_texts, equal)) else ""
        found = f"it has the highest {value}, which other rows have too{fewest}"
    return (
        f"No recommendation, because nothing could be tested: {why}. Until then start with {_named(best)}: {found}.",
    )


def _named(row: StrategyRow) -> str:
    label = row.group.label.replace("`", "'")
    return f"`{label}`"
