"""Metric values of a run's single items (in retrieval: queries), read from its per-item file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.compare.comparison import PerQuery
from bench.compare.interval import Values
from bench.errors import UserError
from bench.record.files import files_at
from bench.record.record import Record


def of_runs(root: Path) -> PerQuery:
    """A reader of the per-item files under ``root``, or in its pack.

    It raises :class:`UserError` for a file that is missing, broken, or contradicts its record.
    """
    files = files_at(root)

    def per_query(record: Record, metric: str) -> tuple[Values, Values]:
        schema = record.evaluation_schema
        name = f"{record.run_id}/{schema.items_file}"
        path = root / name
        try:
            table = files.table(name, [schema.item, metric])
        except FileNotFoundError:
            raise UserError(f"{path}, which holds the values of single items, is missing") from None
        if metric not in table.column_names:
            raise UserError(f"{path}: has no values of {metric} for single items; choose a metric of the whole split")
        if schema.item not in table.column_names:
            raise UserError(f"{path}: has no column {schema.item}; run it again with --force")
        try:
            values = np.asarray(table[metric].to_numpy(), dtype=np.float64)
        except (ValueError, TypeError):
            raise UserError(f"{path}: its values of {metric} are no numbers; run it again with --force") from None
        recorded = record.metrics.get(metric)
        if recorded is not None and len(values) and not np.isclose(values.mean(), recorded, atol=1e-6):
            raise UserError(
                f"{path}: its mean {metric} is {values.mean():.4f}, but the record says {recorded:.4f}; "
                "one of the two files was changed, so run it again with --force"
            )
        return table[schema.item].to_numpy(), values

    return per_query
