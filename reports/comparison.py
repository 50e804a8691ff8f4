"""A comparison as Markdown tables: who is how good, how sure that is, and what it cost."""

from __future__ import annotations

from bench.compare.comparison import LEVEL, Comparison, Row
from bench.compare.statistics import Interval
from reports.markdown import pipe_table

_PRICE = {"train_s": "train s", "mine_s": "mining s", "texts_encoded": "texts", "peak_memory_mb": "peak MB"}
_NOTES = """\
Percent; *sd* and *95 %* are over seeds. Rows that share a letter are not told apart: the difference of two that do not
is real at {level:.0%}, by a paired test over queries and seeds, corrected for all pairs (Holm). The best is bold only
if it is better than every other row for real."""


def render_comparison(comparison: Comparison, everything: bool = False) -> str:
    """Tables of the main metric with its price, of the differences (from the first row or of every pair), the index."""
    first = comparison.rows[0].cell.records[0]
    parts = [
        f"## {first.data['name']}, {first.split}: {first.encoder.get('name', '')}",
        _main(comparison),
        _NOTES.format(level=LEVEL),
        "\n".join(f"- {note}" for note in comparison.notes),
        _differences(comparison, everything),
        _index(comparison),
        _metrics(comparison),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _main(comparison: Comparison) -> str:
    """Quality and price of every row."""
    costs = [name for name in _PRICE if any(row.cost.get(name) is not None for row in comparison.rows)]
    header = ["strategy", comparison.metric, "sd", "95 %", "n", "told apart", "before", *(_PRICE[n] for n in costs)]
    body = []
    for number, row in enumerate(comparison.rows):
        value = row.metrics[comparison.metric]
        mean = f"**{value.mean:.2f}**" if number == comparison.best else f"{value.mean:.2f}"
        before, texts = row.before.get(comparison.metric), row.cost.get("texts_encoded")
        gain = "" if before is None or not texts else f"{(value.mean - before) / texts * 1e4:.2f}"
        shown = "" if before is None else f"{before:.2f}"
        quality = [row.cell.label, mean, _sd(value), _range(value), f"n={value.n}", row.letters, shown]
        body.append([*quality, *(_amount(row, name) for name in costs), gain])
    return pipe_table([*header, "points per 10,000 texts"], body)


def _differences(comparison: Comparison, everything: bool) -> str:
    shown = [pair for pair in comparison.pairs if everything or pair.first == comparison.pairs[0].first]
    if not shown:
        return ""
    header = ["first", "second", "difference", "95 %", "p (Holm)", "effect d", "queries won", "lost"]
    body = [
        [
            comparison.rows[pair.first].cell.label,
            comparison.rows[pair.second].cell.label,
            f"{pair.difference:+.2f}",
            f"{pair.low:+.2f} to {pair.high:+.2f}",
            f"{pair.adjusted:.4f}" + (" *" if pair.adjusted <= LEVEL else ""),
            f"{pair.effect:+.2f}",
            f"{pair.wins:.1%}",
            f"{pair.losses:.1%}",
        ]
        for pair in shown
    ]
    title = "### Every pair" if everything else "### Against the first row"
    return f"{title}\n\n" + pipe_table(header, body, words=2)


def _amount(row: Row, name: str) -> str:
    value = row.cost.get(name)
    return "" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _index(comparison: Comparison) -> str:
    """What the HNSW index loses of what exact search finds."""
    name = comparison.metric.removeprefix("exact/")
    exact = f"exact/{name}"
    if not all({name, exact} <= row.metrics.keys() for row in comparison.rows):
        return ""
    body = [
        [row.cell.label, f"{h:.2f}", f"{e:.2f}", f"{e - h:.2f}"]
        for row in comparison.rows
        for h, e in [(row.metrics[name].mean, row.metrics[exact].mean)]
    ]
    return f"### {name}: the index beside exact search\n\n" + pipe_table(["strategy", "HNSW", "exact", "lost"], body)


def _metrics(comparison: Comparison) -> str:
    names = [n for n in comparison.rows[0].metrics if all(n in row.metrics for row in comparison.rows)]
    names = [name for name in names if "/" not in name and not name.startswith("hit@")]
    header = ["strategy", *names]
    body = [[row.cell.label, *(_summed(row.metrics[name]) for name in names)] for row in comparison.rows]
    return "### Every metric\n\nMean±sd [95 % interval] over seeds.\n\n" + pipe_table(header, body)


def _summed(value: Interval) -> str:
    return f"{value.mean:.2f}" + (f"±{value.sd:.2f} [{_range(value)}]" if value.sd is not None else "")


def _sd(value: Interval) -> str:
    return "" if value.sd is None else f"{value.sd:.2f}"


def _range(value: Interval) -> str:
    return "" if value.low is None else f"{value.low:.1f} to {value.high:.1f}"
