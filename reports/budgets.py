"""Parts that differ only in the budget, side by side: which strategy is highest at which cost?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

from scipy.stats import kendalltau

from bench.compare.comparability import ASPECTS, comparable
from bench.compare.row import StrategyRow
from bench.compare.seed_groups import LENGTH, differences, group
from bench.record.record import Record
from bench.record.serialize import canonical
from reports.blocks import Cell, Prose, Section, Table, amount, number, section, table
from reports.parts import Part

_OTHER = ("budget.", *LENGTH, "train.eval_")  # what may differ from budget to budget
_FEW = 3  # rows whose order can be compared
_NOTE = (
    "The same strategies with the same settings at several budgets, from the cheapest budget to the dearest. Values "
    "are means over seeds, in percent. `=` marks a row that may be the best at that budget; a bold value is "
    "significantly better than every other. Values of different budgets are not tested against each other, nor are "
    "those of one seed, in brackets. Kendall's tau compares the order of the rows with that at the last budget: 1 is "
    "the same order, -1 the reverse."
)


@dataclass(frozen=True)
class _Column:
    """A budget: its part, and those of the part's rows that another budget has too, by their settings."""

    part: Part
    rows: Mapping[str, StrategyRow]

    @property
    def texts(self) -> float:
        """Texts encoded, the mean over rows."""
        return mean(row.cost.get("texts_encoded") or 0.0 for row in self.rows.values())

    def value(self, key: str) -> float:
        """The metric of a row; lower than every value where the row was not run."""
        row = self.rows.get(key)
        return -1.0 if row is None else row.metrics[self.part.comparison.metric].mean

    def cells(self, key: str) -> list[Cell]:
        row, compared = self.rows.get(key), self.part.comparison
        if row is None:
            return [Cell(), Cell()]
        place, value = compared.rows.index(row), row.metrics[compared.metric]
        text = f"{value.mean:.2f}{' =' * (place in compared.leaders and place != compared.best)}"
        told = Cell(text if value.n > 1 else f"({text})", value.mean, strong=place == compared.best)
        return [told, amount(row.cost.get("texts_encoded"))]

    def tau(self, last: _Column) -> float | None:
        """The rank correlation of the rows' order with that of another budget."""
        both = [key for key in self.rows if key in last.rows]
        if len(both) < _FEW:
            return None
        return float(kendalltau([self.value(key) for key in both], [last.value(key) for key in both])[0])


def across_budgets(found: Sequence[Part]) -> Section | None:
    """A table for parts of equal data, encoder and evaluation whose rows, or two of them at least, are the same."""
    of_one_budget = [part for part in found if len(comparable(part.records)) == 1]
    alike = group(of_one_budget, lambda part: canonical([part.comparison.metric, _aspects(part.records[0])]))
    tables = [(same[0].records[0].data["name"], _side_by_side(same)) for same in alike.values() if len(same) > 1]
    made = [Section(name, (one,)) for name, one in tables if one is not None]
    return section("Across budgets", Prose(_NOTE), *made) if made else None


def _aspects(record: Record) -> dict[str, object]:
    return {name: of(record) for name, of in ASPECTS.items() if name != "budget"}


def _settings(record: Record) -> dict[str, object]:
    """What makes a row the same at another budget."""
    return {k: value for k, value in record.setting.items() if value is not None and not k.startswith(_OTHER)}


def _side_by_side(found: Sequence[Part]) -> Table | None:
    by_part = [{_key(row): row for row in part.comparison.rows} for part in found]
    often = Counter(key for rows in by_part for key in rows)
    shared = [{key: row for key, row in rows.items() if often[key] > 1} for rows in by_part]
    columns = [_Column(part, rows) for part, rows in zip(found, shared, strict=True) if len(rows) > 1]
    if len(columns) < 2:
        return None
    columns.sort(key=lambda column: column.texts)
    rows = {key: row for column in columns for key, row in column.rows.items()}
    keys = sorted(rows, key=lambda key: [column.value(key) for column in reversed(columns)], reverse=True)
    header = ["strategy", *(head for column in columns for head in (column.part.what, "texts encoded"))]
    body = [
        [Cell(label), *(cell for column in columns for cell in column.cells(key))]
        for label, key in zip(_labels([rows[key] for key in keys]), keys, strict=True)
    ]
    taus = [column.tau(columns[-1]) for column in columns[:-1]]
    if any(tau is not None for tau in taus):
        body.append([Cell("Kendall's tau"), *(cell for tau in taus for cell in (number(tau), Cell())), Cell(), Cell()])
    return table(header, body)


def _key(row: StrategyRow) -> str:
    return canonical([row.group.strategy, _settings(row.group.records[0])])


def _labels(rows: Sequence[StrategyRow]) -> list[str]:
    """The strategies, with the settings that distinguish several rows of one."""
    labels = {}
    for name, same in group(rows, lambda row: row.group.strategy).items():
        apart = differences([_settings(row.group.records[0]) for row in same])
        labels.update({id(row): f"{name} {own}".strip() for row, own in zip(same, apart, strict=True)})
    return [labels[id(row)] for row in rows]
