"""What each setting of a grid does by itself: its effect on a metric, averaged over all other settings and seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.compare.comparison import PerQuery
from bench.compare.interval import Interval, Values, interval
from bench.compare.seed_groups import group
from bench.errors import UserError
from bench.record.record import Record
from bench.record.serialize import canonical


@dataclass(frozen=True)
class Effect:
    """The mean difference of a metric, in its unit, when the setting ``key`` is ``value`` and not ``instead_of``.

    ``over`` counts pairs of runs that are equal in seed and in every other setting (``over.n``). Its 95 % CI is over
    these pairs (Student's t, so interactions with other settings widen it) and over queries.
    """

    key: str
    value: Any
    instead_of: Any
    over: Interval


def effects(
    records: Sequence[Record], choices: Mapping[str, Sequence[Any]], per_query: PerQuery, metric: str
) -> list[Effect]:
    """The effect of every choice of a setting against the first one that ran; ``choices`` are by the setting's key.

    The records are those of the whole grid, each with the ``metric``. Where the values of single queries cannot be
    read, or are of other queries, the intervals are over pairs of runs alone.
    """
    found = []
    for key, values in choices.items():

        def context(record: Record, key: str = key) -> str:
            return canonical([record.seed, record.strategy, {k: record.setting.get(k) for k in choices if k != key}])

        alike = [_by_value(runs, key, values) for runs in group(records, context).values()]
        ran = [place for place in range(len(values)) if any(place in runs for runs in alike)]
        for place in ran[1:]:
            pairs = [(runs[place], runs[ran[0]]) for runs in alike if place in runs and ran[0] in runs]
            if pairs:
                found.append(Effect(key, values[place], values[ran[0]], _over(pairs, per_query, metric)))
    return found


def _by_value(runs: Sequence[Record], key: str, values: Sequence[Any]) -> dict[int, Record]:
    """The runs by the place of their ``key`` among ``values``."""
    places = {canonical(value): place for place, value in enumerate(values)}
    return {places[canonical(run.setting.get(key))]: run for run in runs}


def _over(pairs: Sequence[tuple[Record, Record]], per_query: PerQuery, metric: str) -> Interval:
    def value(run: Record) -> float:
        return float(run.metrics[metric] or 0.0)

    differences = [value(one) - value(other) for one, other in pairs]
    try:
        ids, values = zip(*(per_query(run, metric) for pair in pairs for run in pair), strict=True)
    except UserError:
        return interval(differences, lowest=-100.0)
    if not all(np.array_equal(ids[0], of_run) for of_run in ids):
        return interval(differences, lowest=-100.0)
    by_query: Values = (np.stack(values[::2]) - np.stack(values[1::2])).mean(0)
    return interval(differences, per_query=by_query, lowest=-100.0)
