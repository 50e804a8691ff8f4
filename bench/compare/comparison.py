"""The comparison of strategies by their records: quality with intervals, significant differences, and cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from string import ascii_letters

import numpy as np

from bench.compare.comparability import refuse_incomparable
from bench.compare.interval import Values
from bench.compare.notes import on_rows, on_seeds
from bench.compare.row import StrategyRow, by_query, row_of
from bench.compare.seed_groups import group, seed_groups
from bench.compare.statistics import RESAMPLES, Pair, not_best, paired, widened
from bench.errors import UserError
from bench.record.record import Record
from bench.record.schema import EvaluationSchema

LEVEL = 0.05  # a difference is significant when its p, corrected for the family that it belongs to, is at most this

PerQuery = Callable[[Record, str], tuple[Values, Values]]
"""From a record and a metric to the ids [Q] and the values [Q] of its items, as in its per-item file."""


@dataclass(frozen=True)
class Comparison:
    """Tested rows, the highest ``metric`` first and of equal ones the fewest texts encoded, then untested rows.

    ``pairs`` name rows by their place. ``best`` is the row that is significantly better than every other, or None where
    there is none. ``notes`` say in what the rows differ beside the strategy, which rows could not be tested, and how
    equal the rows' seeds are.
    """

    metric: str
    rows: tuple[StrategyRow, ...]
    pairs: tuple[Pair, ...]
    best: int | None
    notes: tuple[str, ...]

    @property
    def schema(self) -> EvaluationSchema:
        """The evaluation schema of all rows: the names of their metrics."""
        return self.rows[0].group.records[0].evaluation_schema

    @property
    def leaders(self) -> list[int]:
        """The rows that may be the best, by place: a 95 % confidence set. It is empty when nothing was tested."""
        return [place for place, row in enumerate(self.rows) if row.not_best is not None and row.not_best > LEVEL]

    def baseline(self, strategy: str | None) -> int | None:
        """The place of the best tested row of a strategy."""
        rows = enumerate(self.rows)
        return next((place for place, row in rows if row.letters and row.group.strategy == strategy), None)

    def pair(self, first: int, second: int) -> Pair | None:
        """The test of two rows, first minus second."""
        for pair in self.pairs:
            if (pair.first, pair.second) == (first, second):
                return pair
            if (pair.second, pair.first) == (first, second):
                return pair.turned()
        return None


def compare(
    records: Iterable[Record],
    per_query: PerQuery,
    metric: str | None = None,
    allowed: Sequence[str] = (),
    resamples: int = RESAMPLES,
) -> Comparison:
    """Compare all strategies of ``records`` by ``metric``, by default the headline of their evaluation.

    Invalid runs are no rows; notes name them with the reason. Raises :class:`UserError` when there is nothing to
    compare, when a record lacks the metric, and when runs differ in data, encoder, evaluation or budget and that is not
    ``allowed``.
    """
    records, unacted = _apart(records)
    found = seed_groups(records)
    if not found:
        raise UserError("; ".join(["there is no finished run to compare", *unacted]))
    metric = metric or records[0].evaluation_schema.headline
    notes = refuse_incomparable(found, allowed)
    if again := len(records) - sum(len(cell.records) for cell in found):
        notes.append(f"runs that repeat a seed of their row: {again}; the latest run of each seed counts")
    rows = [row_of(cell, metric) for cell in found]
    rows.sort(key=lambda row: (row.metrics[metric].n < 2, *row.merit(metric)))  # rows of one seed come last
    notes += [*unacted, *on_rows(rows, metric)]
    tested, values, untested = _values(rows, per_query, metric)
    notes += untested
    for place, of_row in zip(tested, values, strict=True):
        rows[place] = by_query(rows[place], metric, of_row)
    seeds = [rows[place].group.seeds for place in tested]
    pairs = [widened(pair, values[0].shape[1]) for pair in paired(values, seeds, resamples=resamples)]
    if not pairs:
        return Comparison(metric, tuple(rows), (), None, tuple(notes))
    others = [row for place, row in enumerate(rows) if place not in tested]
    different = {(pair.first, pair.second) for pair in pairs if pair.adjusted <= LEVEL}
    letters = letters_of(range(len(tested)), different)
    excluded = not_best(pairs, len(tested))
    rows = [replace(rows[place], letters=letters[k], not_best=excluded[k]) for k, place in enumerate(tested)]
    notes.append(on_seeds(rows, values))
    winner = not others and all(p <= LEVEL for p in excluded[1:])
    return Comparison(metric, (*rows, *others), tuple(pairs), 0 if winner else None, tuple(notes))


def _apart(records: Iterable[Record]) -> tuple[list[Record], list[str]]:
    """The runs of settings without an invalid run, and a note for each other setting, with the reason.

    A setting is left out as a whole: the seeds with which its mechanism acted are those with which it did well.
    """
    records = list(records)
    if all(record.invalid is None for record in records):
        return records, []
    notes, left_out = [], set[str]()
    for cell in seed_groups(records):
        for why, same in group(cell.records, lambda record: record.invalid).items():
            if why is not None:
                seeds = ", ".join(str(record.seed) for record in same)
                notes.append(f"{cell.label} is invalid and no row (seed {seeds}): {why}")
                left_out |= {record.run_id for record in cell.records}
    return [record for record in records if record.run_id not in left_out and record.invalid is None], notes


def _values(rows: Sequence[StrategyRow], per_query: PerQuery, metric: str) -> tuple[list[int], list[Values], list[str]]:
    """The rows that can be tested, their per-query values [seeds, Q], and notes on why others cannot."""
    tested: list[int] = []
    found: list[Values] = []
    notes: list[str] = []
    asked: Values | None = None
    for number, row in enumerate(rows):
        if row.metrics[metric].n < 2:
            continue
        schema = row.group.records[0].evaluation_schema
        try:
            queries, values = zip(*(per_query(record, metric) for record in row.group.records), strict=True)
        except UserError as error:
            notes.append(f"{row.group.label} is not tested: {error}")
            continue
        asked = queries[0] if asked is None else asked
        if not all(np.array_equal(asked, of_run) for of_run in queries):
            notes.append(f"{row.group.label} is not tested: its runs have other {schema.items} than the rows above")
            continue
        if len(asked) < 2 or not all(np.isfinite(of_run).all() for of_run in values):
            odd = f"values of single {schema.items} are not numbers"
            what = f"there is only one {schema.item}" if len(asked) < 2 else odd
            notes.append(f"{row.group.label} is not tested: {what}")
            continue
        tested.append(number)
        found.append(np.stack(values))
    if len(tested) < 2:
        notes.append("nothing is tested: a test needs at least two rows with at least two seeds each")
    return tested, found, notes


def letters_of(rows: Sequence[int], different: set[tuple[int, int]]) -> dict[int, str]:
    """Letters such that two rows share one exactly when they are not significantly different, with few letters.

    ``different`` holds the significantly different pairs, each in the order of ``rows``. Insert and absorb (Piepho
    2004).
    """
    groups: list[set[int]] = [set(rows)] if rows else []
    for first, second in sorted(different):
        split = [g - {out} for g in groups if {first, second} <= g for out in (second, first)]
        groups = [g for g in groups if not {first, second} <= g]
        for g in split:
            if not any(g <= other for other in groups):
                groups = [other for other in groups if not other < g] + [g]
    groups.sort(key=lambda g: sorted(g))
    found: dict[int, str] = dict.fromkeys(rows, "")
    for number, g in enumerate(groups):
        for row in g:
            found[row] += _letter(number)
    return found


def _letter(number: int) -> str:
    """a, b, ... z, A, ... Z, then (53), ..."""
    return ascii_letters[number] if number < len(ascii_letters) else f"({number + 1})"
