"""Ranking metrics, per query and in percent, as a table: name, description, function."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.data.dataset import Floats, Ids, Ragged
from bench.errors import UserError, choice

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Judged:
    """A ranking compared with the relevance judgments.

    ``gains`` ``[Q, k]`` is the grade of the passage at each rank (1 where relevance is yes or no, 0 for a
    passage that is not relevant); ``ideal`` ``[Q, n]`` the grades of *all* relevant passages, highest first,
    filled up with zeros.
    """

    gains: Values
    ideal: Values

    @property
    def known(self) -> Ids:
        """[Q] number of relevant passages, retrieved or not."""
        count: Ids = np.count_nonzero(self.ideal, axis=1)
        return count

    @property
    def first(self) -> Ids:
        """[Q] rank of the first relevant passage, from 1; 0 where none was retrieved."""
        hit = self.gains > 0
        return np.where(hit.any(axis=1), hit.argmax(axis=1) + 1, 0)


def judge(ranked: Ids, relevant: Ragged, grades: Floats | None = None) -> Judged:
    """Compare ``ranked`` passage ids ``[Q, k]``, best first, with a row of ``relevant`` ids per query.

    ``grades`` is parallel to ``relevant.values``; a grade of 0 or less means not relevant, as in trec_eval.
    A place with no passage holds -1. The ids of a ranking are distinct.
    """
    if len(ranked) != len(relevant):
        raise ValueError(f"{len(ranked)} rankings but {len(relevant)} rows of relevant passages")
    rows = np.repeat(np.arange(len(relevant)), relevant.lengths)
    values = np.ones(len(rows)) if grades is None else np.maximum(grades, 0).astype(np.float64)

    width = 1 + max(ranked.max(initial=0), relevant.values.max(initial=0))  # one key per (query, passage)
    keys = rows * width + relevant.values
    order = np.argsort(keys)
    sought = np.arange(len(ranked))[:, None] * width + ranked
    # a key above all others ends the table, so that every place found is a place in it
    table, paid = np.append(keys[order], np.iinfo(np.int64).max), np.append(values[order], 0)
    place = np.searchsorted(table, sought)
    gains = np.where((table[place] == sought) & (ranked >= 0), paid[place], 0)

    ideal = np.zeros((len(relevant), relevant.lengths.max(initial=0)))
    ideal[rows, np.arange(len(rows)) - relevant.offsets[rows]] = values
    return Judged(gains, -np.sort(-ideal, axis=1))


def _recall(judged: Judged, k: int) -> Values:
    found: Values = np.count_nonzero(judged.gains[:, :k], axis=1) / np.maximum(judged.known, 1)
    return found


def _hit(judged: Judged, k: int) -> Values:
    return ((judged.first > 0) & (judged.first <= k)).astype(np.float64)


def _mrr(judged: Judged, k: int) -> Values:
    return _hit(judged, k) / np.maximum(judged.first, 1)


def _ndcg(judged: Judged, k: int) -> Values:
    best = _dcg(judged.ideal, k)
    return _dcg(judged.gains, k) / np.where(best > 0, best, 1)


def _dcg(gains: Values, k: int) -> Values:
    cut = gains[:, :k]
    total: Values = cut @ (1 / np.log2(np.arange(cut.shape[1]) + 2))
    return total


class Metric(NamedTuple):
    """``function`` gives a number in [0, 1] per query, ``[Q]``, from the first ``k`` of a ranking.

    An evaluation reports it at every one of ``eval.ks``, or if ``at_ten`` only at 10 (or at a smaller depth).
    """

    description: str
    function: Callable[[Judged, int], Values]
    at_ten: bool = False


METRICS = {
    "recall": Metric("share of all relevant passages that are among the first k", _recall),
    "hit": Metric("whether any relevant passage is among the first k", _hit),
    "mrr": Metric("one over the rank of the first relevant passage, 0 if that is beyond k", _mrr, at_ten=True),
    "ndcg": Metric("sum of grade / log2(1 + rank) over the first k, over the ideal order's", _ndcg, at_ten=True),
}
"""Every metric by name: an entry here is all that a new one takes."""


def names(ks: Iterable[int], depth: int) -> tuple[str, ...]:
    """The metrics that an evaluation at the cut-offs ``ks`` reports when it retrieves ``depth`` passages."""
    ks, ten = tuple(ks), min(10, depth)
    return tuple(f"{name}@{k}" for name, metric in METRICS.items() for k in ((ten,) if metric.at_ten else ks))


def parse(name: str) -> tuple[str, int]:
    """``"recall@10"`` as ``("recall", 10)``. Raises :class:`UserError` for any other form or name."""
    kind, at, k = name.partition("@")
    choice("metric", kind, METRICS)
    if not at or not k.isdecimal() or int(k) < 1:
        raise UserError(f"metric={name!r} needs a cut-off, such as {kind}@10")
    return kind, int(k)


def per_query(judged: Judged, metrics: Iterable[str]) -> dict[str, Values]:
    """Each metric's value of every query, ``[Q]``, in percent.

    Raises :class:`UserError` for a metric that is unknown or needs a longer ranking.
    """
    depth, values = judged.gains.shape[1], {}
    for name in metrics:
        kind, k = parse(name)
        if k > depth:
            raise UserError(f"metric {name} needs {k} passages a query but {depth} were retrieved")
        values[name] = 100 * METRICS[kind].function(judged, k)
    return values


def means(values: Mapping[str, Values]) -> dict[str, float]:
    """The mean over queries of each metric, in percent."""
    return {name: float(column.mean()) for name, column in values.items()}
