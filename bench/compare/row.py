"""One row of a comparison: the seeds of one setting, with their metrics, intervals and costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from statistics import mean

from bench.compare.interval import Interval, Values, interval
from bench.compare.seed_groups import SeedGroup
from bench.errors import UserError
from bench.record.record import Metrics, Record


@dataclass(frozen=True)
class StrategyRow:
    """One row of a comparison: a strategy with its settings.

    ``metrics`` are over its seeds and queries, in percent; ``cost`` are means over seeds; ``before`` are the metrics of
    the untrained encoder. Rows that share a letter of ``letters`` are not significantly different in the family of all
    pairs; a row without letters was not tested. ``not_best`` is the p of the hypothesis that no row is better, in the
    family of the best row against the rest.
    """

    group: SeedGroup
    metrics: dict[str, Interval]
    cost: dict[str, float | None]
    before: dict[str, float | None]
    letters: str = ""
    not_best: float | None = None

    def merit(self, metric: str) -> tuple[float, float, str]:
        """What orders rows: the highest mean first; of equal ones the one of fewest texts encoded, then by label."""
        texts = self.cost.get("texts_encoded")
        return -self.metrics[metric].mean, inf if texts is None else texts, self.group.label


def row_of(cell: SeedGroup, metric: str) -> StrategyRow:
    """The row of some seeds, not yet tested; its steps of training are a cost too.

    Raises :class:`UserError` when a record lacks ``metric``.
    """
    if any(record.metrics.get(metric) is None for record in cell.records):
        known = sorted({name for record in cell.records for name in record.metrics})
        raise UserError(f"{cell.label} has no metric {metric!r}; there is {', '.join(known)}")
    measured, first = _over([record.metrics for record in cell.records]), cell.records[0]
    costs = _over([{**record.cost, "steps": record.selection.get("steps")} for record in cell.records])
    return StrategyRow(
        cell,
        {
            name: interval(found, items_of(first, name), lowest=first.evaluation_schema.lowest)
            for name, found in measured.items()
        },
        {name: mean(values) for name, values in costs.items()},
        {name: mean(values) for name, values in _over([r.baseline_metrics or {} for r in cell.records]).items()},
    )


def by_query(row: StrategyRow, metric: str, values: Values) -> StrategyRow:
    """The row with the interval of ``metric`` from its per-query values [seeds, Q] instead of their number."""
    recorded = _over([record.metrics for record in row.group.records])[metric]
    lowest = row.group.records[0].evaluation_schema.lowest
    return replace(row, metrics={**row.metrics, metric: interval(recorded, per_query=values.mean(0), lowest=lowest)})


def items_of(record: Record, metric: str) -> int | None:
    """How many queries the metric is a mean of; None where the record does not say."""
    known = record.items.get("items", record.data["counts"].get(f"{record.split}_queries"))
    of_part = "/" in record.evaluation_schema.plain(metric)
    return known if isinstance(known, int) and not of_part else None


def _over(measured: Sequence[Metrics]) -> dict[str, list[float]]:
    """The names for which all have a value, and those values."""
    values = {name: [m.get(name) for m in measured] for name in measured[0]}
    return {name: [v for v in found if v is not None] for name, found in values.items() if None not in found}
