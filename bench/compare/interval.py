"""The 95 % CI of a row of a comparison, over its seeds and the sample of queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """Mean, sample standard deviation over ``n`` seeds, and 95 % CI over seeds and queries of one metric, in percent.

    With one seed there is neither a deviation nor an interval.
    """

    n: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None


def interval(
    values: Sequence[float],
    queries: int | None = None,
    per_query: Values | None = None,
    level: float = 0.95,
    lowest: float = 0.0,
) -> Interval:
    """The interval of the mean of ``values`` (percent, one a seed), which covers the sampling of seeds and of queries.

    ``per_query`` ``[Q]`` are the values of single queries, averaged over seeds; where they are not known, their number
    ``queries`` gives a bound. Student's t reach over seeds and the normal reach over queries are independent, so they
    add as squares. Where neither is given, the interval covers seeds alone, and equal seeds have none. Metrics are from
    ``lowest`` to 100; where that is -100 they are correlations, and queries pairs of texts.
    """
    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return Interval(n, mean, None, None, None)
    sd, tail = float(np.std(values, ddof=1)), (1 + level) / 2
    reach = float(stdtrit(n - 1, tail)) * sd / n**0.5
    queries = queries if per_query is None else len(per_query)
    if queries:
        variance = _query_variance(mean, queries, per_query) if lowest == 0 else _pair_variance(mean, per_query)
        reach = float(np.hypot(reach, ndtri(tail) * (variance / queries) ** 0.5))
    if not reach:
        return Interval(n, mean, sd, None, None)
    return Interval(n, mean, sd, max(lowest, mean - reach), min(100.0, mean + reach))


def _query_variance(mean: float, queries: int, per_query: Values | None) -> float:
    """Variance of a single query's value, in percent squared, never zero.

    Two queries at 0 and two at 100 are added (Agresti and Coull 1998), because a sample of equal queries does not show
    that all are equal. Without the values it is the largest variance that values of this mean can have.
    """
    if per_query is not None:
        return float(np.var(np.append(per_query, (0.0, 0.0, 100.0, 100.0)), ddof=1))
    centre = (mean * queries + 200.0) / (queries + 4)
    return centre * (100.0 - centre)


def _pair_variance(mean: float, per_pair: Values | None) -> float:
    """Variance of a single pair's value of a correlation, times 100 squared.

    Without the values it is that of Spearman's correlation ``r`` of normal variables (Bonett and Wright 2000):
    ``(1 + r^2 / 2) (1 - r^2)^2``, of at least a hundredth, since no sample shows that two orders are equal everywhere.
    """
    if per_pair is not None:
        return float(np.var(per_pair, ddof=1))
    square = min((mean / 100) ** 2, 0.9)
    return 1e4 * (1 + square / 2) * (1 - square) ** 2
