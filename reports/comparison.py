"""A comparison as tables: quality, significance and cost of every row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bench.compare.comparison import LEVEL, Comparison
from bench.compare.interval import Interval
from bench.compare.row import StrategyRow
from bench.compare.statistics import Pair
from bench.record.identity import counted
from bench.record.serialize import as_override
from reports import blocks
from reports.blocks import Block, Bullets, Cell, Prose, Section, Table, amount, number, section, table

_COSTS = {
    "steps": "steps",
    "train_s": "train s",
    "mine_s": "mining s",
    "texts_encoded": "texts encoded",
    "peak_memory_mb": "peak MB",
}
_NOTES = (
    "Metrics are in percent; `sd` is over seeds, `95 % CI` over seeds and {items}. Rows that share a letter are not "
    f"significantly different (p ≤ {LEVEL:.2f} is significant; paired test over {{items}} and seeds, corrected for the "
    "family of all pairs). Rows of the same {items} can be significantly different although their intervals overlap. "
    "The best row is bold only if it is significantly better than every other row. That is tested in the family of the "
    "best row against the rest, which needs less evidence, so rows can be significantly worse than the best and share "
    "a letter with it. A CI is of its pair alone, so it can exclude zero where p is not significant. "
    "`untrained` is the encoder "
    "before training. Seconds and memory depend on the machine and on what else ran on it; `texts encoded` counts "
    "training and mining and does not."
)


def render(comparison: Comparison, everything: bool = False, against: str | None = None) -> Section:
    """The tables of a comparison: differences from the strategy ``against`` and from the best row.

    ``everything`` shows the differences of all pairs too.
    """
    parts: list[Block | None] = [
        main(comparison),
        Prose(_NOTES.format(items=comparison.schema.items)),
        notes(comparison),
        against_baseline(comparison, against),
        against_best(comparison),
        every_pair(comparison) if everything else None,
        index(comparison),
        every_metric(comparison),
    ]
    return Section(title(comparison), tuple(part for part in parts if part is not None))


def title(comparison: Comparison) -> str:
    """Data, split and encoder of the rows, with those of its layers that were kept."""
    first = comparison.rows[0].group.records[0]
    layers = first.encoder.get("layers")
    kept = "" if layers is None else f" layers={list(layers)}"
    return f"{first.data['name']}, {first.split}: {first.encoder_name}{kept}"


def main(comparison: Comparison) -> Table:
    """Quality and cost of every row."""
    costs = shown(_COSTS, [row.cost for row in comparison.rows])
    header = [
        *("strategy", comparison.metric, "sd", "95 % CI", "seeds", "letters", "untrained"),
        *(_COSTS[n] for n in costs),
    ]
    rows = []
    for place, row in enumerate(comparison.rows):
        value, before = row.metrics[comparison.metric], row.before.get(comparison.metric)
        cells = [
            Cell(row.group.label),
            number(value.mean, hint=_by_seed(row, comparison.metric), strong=place == comparison.best),
            number(value.sd),
            Cell(interval(value), value.low),
            Cell(str(value.n), value.n),
            Cell(row.letters),
            number(before),
            *(amount(row.cost.get(name)) for name in costs),
            number(gain_per_texts(row, comparison.metric)),
        ]
        rows.append(blocks.Row(tuple(cells), row.group.commands))
    return Table((*header, "points per 10k texts"), tuple(rows))


def shown(names: Iterable[str], costs: Sequence[Mapping[str, float | None]]) -> list[str]:
    """Of the costs ``names`` those that some row has; steps only where rows differ in them."""
    there = {name: {cost.get(name) for cost in costs} - {None} for name in names}
    return [name for name, values in there.items() if len(values) > (name == "steps")]


def settings(comparison: Comparison) -> Section | None:
    """The knobs of every strategy, and the settings that all rows share."""
    known = [_known(row) for row in comparison.rows]
    equal = {key: value for key, value in known[0].items() if all(of.get(key) == value for of in known)}
    shared = " ".join(f"{key}={as_override(value)}" for key, value in equal.items() if value not in (None, ""))
    rows = [[row.group.label, _as_text(row.group.records[0].knobs)] for row in comparison.rows]
    note = Prose(f"Equal in all rows: {shared}.") if shared else None
    return section("Settings", note, table(["strategy", "knobs"], rows, words=2), folded=True)


def _known(row: StrategyRow) -> dict[str, object]:
    """The settings of encoder, training, budget and evaluation."""
    record = row.group.records[0]
    told = counted({"encoder": record.encoder})
    groups, unused = ("budget.", "train.", "eval.", "index."), record.evaluation_schema.unused
    read = {key: v for key, v in record.setting.items() if key.startswith(groups) and not key.startswith(unused)}
    return {**told, **read}


def _as_text(settings: Mapping[str, object]) -> str:
    return " ".join(f"{key}={as_override(value)}" for key, value in settings.items())


def notes(comparison: Comparison) -> Block | None:
    """In what the rows differ beside the strategy, and which rows could not be tested."""
    return Bullets(comparison.notes) if comparison.notes else None


def against_baseline(comparison: Comparison, strategy: str | None, folded: bool = False) -> Section | None:
    """The differences of all tested rows from the baseline, the best row of ``strategy``."""
    baseline = comparison.baseline(strategy)
    pairs = [comparison.pair(place, baseline) for place in range(len(comparison.rows)) if baseline is not None]
    family = [(pair, pair.against_second) for pair in pairs if pair is not None]
    found = _differences(comparison, family, "against the baseline")
    return section("Every row against the baseline", found, folded=folded)


def against_best(comparison: Comparison, folded: bool = False) -> Section | None:
    """The best row's differences from all others; p is that of the other being the best."""
    rows = comparison.rows
    family = [
        (pair, p) for pair in comparison.pairs if not pair.first and (p := rows[pair.second].not_best) is not None
    ]
    note = (
        "p is of the hypothesis that no row is better than the second. The data choose the best row, and p accounts "
        "for that (multiple comparisons with the best)."
    )
    found = _differences(comparison, family, "best against the rest")
    return section("The best row against the rest", found, Prose(note), folded=folded) if found else None


def every_pair(comparison: Comparison, folded: bool = False) -> Section | None:
    """The differences of all tested pairs."""
    family = [(pair, pair.adjusted) for pair in comparison.pairs]
    return section("All pairs", _differences(comparison, family, "all pairs"), folded=folded)


def _differences(comparison: Comparison, family: Sequence[tuple[Pair, float]], name: str) -> Table | None:
    """Pairs with their p, which is corrected for the family of this ``name``."""
    if not family:
        return None
    items = comparison.schema.items
    header = ["first", "second", "difference", "95 % CI", f"p ({name})", "effect (d)", f"{items} won", f"{items} lost"]
    rows = [
        [
            comparison.rows[pair.first].group.label,
            comparison.rows[pair.second].group.label,
            number(pair.difference, sign=True),
            Cell(f"{pair.low:+z.2f} to {pair.high:+z.2f}", pair.low),
            Cell(p_value(p, pair) + (" *" if p <= LEVEL else ""), p, f"uncorrected {pair.p:.4f}"),
            number(pair.effect, sign=True),
            Cell(f"{pair.wins:.1%}", pair.wins),
            Cell(f"{pair.losses:.1%}", pair.losses),
        ]
        for pair, p in family
    ]
    return table(header, rows, words=2)


def p_value(p: float, pair: Pair) -> str:
    """A p of the pair, with ``≤`` where it is the smallest that this many resamples can show."""
    return f"{'≤ ' if p <= pair.least else ''}{p:.4f}"


def index(comparison: Comparison) -> Section | None:
    """How much of each metric the index loses against exact search."""
    schema = comparison.schema
    name, exact = schema.plain(comparison.metric), schema.exact(comparison.metric)
    if exact is None or not all({name, exact} <= row.metrics.keys() for row in comparison.rows):
        return None
    rows = [
        [row.group.label, number(h), number(e), number(e - h)]
        for row in comparison.rows
        for h, e in [(row.metrics[name].mean, row.metrics[exact].mean)]
    ]
    note = Prose(
        "`lost` is the value by exact search minus the value by the index. It can be negative, because the index "
        "also misses wrong passages, which exact search may rank first."
    )
    engines = ", ".join(dict.fromkeys(record.engine for row in comparison.rows for record in row.group.records))
    header = ["strategy", f"index ({engines})", "exact", "lost"]
    return section(f"{name}: index ({engines}) against exact search", note, table(header, rows))


def every_metric(comparison: Comparison, folded: bool = False) -> Section | None:
    """Mean, standard deviation and interval of all metrics of the split, and the means of its parts."""
    shared = [n for n in comparison.rows[0].metrics if all(n in row.metrics for row in comparison.rows)]
    whole, parts = comparison.schema.of_whole(shared), comparison.schema.of_parts(shared)
    rows = [
        [
            row.group.label,
            *(Cell(_summed(row.metrics[name]), row.metrics[name].mean) for name in whole),
            *(number(row.metrics[name].mean) for name in parts),
        ]
        for row in comparison.rows
    ]
    items = comparison.schema.items
    note = Prose(f"Mean ± sd over seeds [95 % CI over seeds and {items}]; for parts of the split the mean alone.")
    return section("All metrics", note, table(["strategy", *whole, *parts], rows), folded=folded)


def gain_per_texts(row: StrategyRow, metric: str) -> float | None:
    """Points gained over the encoder before training, for each 10,000 texts encoded."""
    before, texts = row.before.get(metric), row.cost.get("texts_encoded")
    return None if before is None or not texts else (row.metrics[metric].mean - before) / texts * 1e4


def interval(value: Interval) -> str:
    """``62.8 to 65.6``; empty for one seed."""
    return "" if value.low is None else f"{value.low:.1f} to {value.high:.1f}"


def _by_seed(row: StrategyRow, metric: str) -> str:
    return ", ".join(f"seed {record.seed}: {record.metrics[metric]:.2f}" for record in row.group.records)


def _summed(value: Interval) -> str:
    return f"{value.mean:.2f}" + (f"±{value.sd:.2f} [{interval(value)}]" if value.sd is not None else "")
