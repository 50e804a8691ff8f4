"""The course of training on dev: does the order of rows early in training predict the order at its end?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import Any

from scipy.stats import kendalltau

from bench.compare.comparison import Comparison
from bench.record.record import Record
from reports.blocks import Cell, Prose, Section, number, section, table

Histories = Callable[[Record], Sequence[Mapping[str, Any]]]
Measure = Callable[[Mapping[str, Any]], float | None]

MOST_STEPS = 8
MOST_ROWS = 8


@dataclass(frozen=True)
class Curve:
    """Means over the seeds of a row: ``means`` by optimiser step, rising, where every seed was measured; the ``end``,
    of the last value of each seed, and ``best``, of its highest, whose steps may differ. These are None where a seed
    has no value.
    """

    means: Mapping[int, float] = field(default_factory=dict)
    end: float | None = None
    best: float | None = None


def curves(comparison: Comparison, histories: Histories, measured: Measure) -> list[Curve]:
    """The curve of each row of what is ``measured`` of events."""
    return [_curve([_of_run(histories(run), measured) for run in row.group.records]) for row in comparison.rows]


def _of_run(events: Sequence[Mapping[str, Any]], measured: Measure) -> dict[int, float]:
    found = ((event["step"], measured(event)) for event in events if "step" in event)
    return {step: value for step, value in found if value is not None}


def _curve(by_seed: Sequence[Mapping[int, float]]) -> Curve:
    if not all(by_seed):
        return Curve()
    steps = sorted(set.intersection(*map(set, by_seed)))
    means = {step: mean(seed[step] for seed in by_seed) for step in steps}
    return Curve(means, mean(seed[max(seed)] for seed in by_seed), mean(max(seed.values()) for seed in by_seed))


def on_dev(comparison: Comparison, histories: Histories) -> tuple[str, list[Curve]]:
    """The metric of the comparison as evaluations during training name it, and its curve of each row."""
    name = comparison.schema.on_dev(comparison.metric)
    return name, curves(comparison, histories, lambda event: event.get(name))


def course(comparison: Comparison, histories: Histories) -> Section | None:
    """The dev metric by step with the highest row of each step; None where fewer than two rows have several steps."""
    name, found = on_dev(comparison, histories)
    known = [(row, curve) for row, curve in zip(comparison.rows, found, strict=True) if len(curve.means) > 1]
    known = known[:MOST_ROWS]
    if len(known) < 2:
        return None
    labels, rows = [row.group.label for row, _ in known], [curve for _, curve in known]
    several = len(rows) > 2
    header = ["step", *labels, "highest", *(["Kendall's tau with the end"] if several else [])]
    lines: list[tuple[Cell, list[float | None]]] = [
        (Cell(f"{step:,}", step), [curve.means.get(step) for curve in rows]) for step in _steps(rows)
    ]
    ends = [curve.end for curve in rows]
    lines.append((Cell("end"), ends))
    body = [[first, *map(number, values), *_order(values, ends, labels)] for first, values in lines]
    tau = " Kendall's tau is 1 where the order of rows is that of the end, and -1 where it is reversed."
    runs = [record for row, _ in known for record in row.group.records]
    limits = _limits(runs) if comparison.schema.items == "queries" else ""
    note = (
        f"`{name}` in percent, the mean over seeds{limits}. `end` is the last evaluation of each run; runs may "
        f"differ in their number of steps. `highest` is named where all rows have a value.{tau if several else ''}"
    )
    return section("Dev by step", Prose(note), table(header, body), folded=True)


def _steps(rows: Sequence[Curve]) -> list[int]:
    """Some steps of all rows, and some of any row but its last, which stands under ``end``; closer at the beginning."""
    shared = set.intersection(*(set(curve.means) for curve in rows))
    others = {step for curve in rows for step in curve.means if step != max(curve.means)}
    return sorted({*_some(sorted(shared)), *_some(sorted(others - shared))})


def _limits(runs: Sequence[Record]) -> str:
    """How many queries and passages of dev were measured, where it is the same for all runs and recorded."""
    sizes = {(run.setting.get("train.eval_queries"), run.setting.get("train.eval_corpus")) for run in runs}
    queries, passages = next(iter(sizes))
    if len(sizes) > 1 or not isinstance(queries, int) or not isinstance(passages, int):
        return ""
    return f", over at most {queries:,} queries and {passages:,} passages"


def _order(values: Sequence[float | None], ends: Sequence[float | None], labels: Sequence[str]) -> list[Cell]:
    """The highest rows of a step, and of three rows or more the rank correlation with the end."""
    several = len(labels) > 2
    if None in values:
        return [Cell()] * (1 + several)
    best = max(value for value in values if value is not None)
    highest = " = ".join(label for label, value in zip(labels, values, strict=True) if value == best)
    return [Cell(highest), *([number(float(kendalltau(values, ends)[0]))] if several else [])]


def _some(steps: Sequence[int]) -> list[int]:
    """At most :data:`MOST_STEPS` of the steps, closer together at the beginning, where curves are steep."""
    if len(steps) <= MOST_STEPS:
        return list(steps)
    last = len(steps) - 1
    return [steps[round(last * (n / (MOST_STEPS - 1)) ** 1.5)] for n in range(MOST_STEPS)]
