"""The course of training on dev: does the order of rows early in training predict the order at its end?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import mean
from typing import Any

from scipy.stats import kendalltau

from bench.compare.comparison import Comparison
from bench.record.record import Record
from reports.blocks import Cell, Prose, Section, number, section, table

Histories = Callable[[Record], Sequence[Mapping[str, Any]]]
Measure = Callable[[Mapping[str, Any]], float | None]
Curve = dict[int, float]
"""A value for each of some optimiser steps, in rising order."""

MOST_STEPS = 10
MOST_ROWS = 8


def curves(comparison: Comparison, histories: Histories, measured: Measure) -> list[Curve]:
    """For each row the mean over seeds of what is ``measured`` of events, at the steps at which every seed has it."""
    found = []
    for row in comparison.rows:
        by_seed = [
            {
                event["step"]: value
                for event in histories(run)
                if "step" in event and (value := measured(event)) is not None
            }
            for run in row.group.records
        ]
        steps = sorted(set.intersection(*map(set, by_seed)))
        found.append({step: mean(seed[step] for seed in by_seed) for step in steps})
    return found


def on_dev(comparison: Comparison, histories: Histories) -> tuple[str, list[Curve]]:
    """The metric of the comparison as evaluations during training name it, and its curve of each row."""
    name = comparison.schema.on_dev(comparison.metric)
    return name, curves(comparison, histories, lambda event: event.get(name))


def course(comparison: Comparison, histories: Histories) -> Section | None:
    """The dev metric by step with the highest row of each step; None where fewer than two rows have it."""
    name, found = on_dev(comparison, histories)
    rows = [(row.group.label, curve) for row, curve in zip(comparison.rows, found, strict=True) if len(curve) > 1]
    rows = rows[:MOST_ROWS]
    shared = sorted(set.intersection(*(set(curve) for _, curve in rows))) if rows else []
    if len(rows) < 2 or not shared:
        return None
    every = sorted({step for _, curve in rows for step in curve if step != max(curve) or step in shared})
    ends = [curve[max(curve)] for _, curve in rows]
    several = len(rows) > 2
    header = ["step", *(label for label, _ in rows), "highest", *(["Kendall's tau with the end"] if several else [])]
    body = []
    for step in _some(every):
        values = [curve.get(step) for _, curve in rows]
        body.append([Cell(f"{step:,}", step), *map(number, values), *_order(values, ends, rows, several)])
    body.append([Cell("end"), *map(number, ends), *_order(ends, ends, rows, several)])
    tau = (
        "; Kendall's tau is 1 where the order of rows is that of the end, and -1 where it is reversed"
        if several
        else ""
    )
    note = Prose(
        f"`{name}` in percent, the mean over seeds. `end` is the last evaluation of each row; rows may differ in their "
        f"number of steps. `highest` is named where all rows have a value{tau}."
    )
    return section("Dev by step", note, table(header, body), folded=True)


def _order(
    values: Sequence[float | None], ends: Sequence[float], rows: Sequence[tuple[str, Curve]], several: bool
) -> list[Cell]:
    known = [value for value in values if value is not None]
    if len(known) < len(rows):
        return [Cell()] * (1 + several)
    return [Cell(rows[known.index(max(known))][0]), *([number(float(kendalltau(known, ends)[0]))] if several else [])]


def _some(steps: Sequence[int]) -> list[int]:
    """At most :data:`MOST_STEPS` of the steps, closer together at the beginning, where curves are steep."""
    if len(steps) <= MOST_STEPS:
        return list(steps)
    last = len(steps) - 1
    return [steps[place] for place in sorted({round(last * (n / (MOST_STEPS - 1)) ** 1.5) for n in range(MOST_STEPS)})]
