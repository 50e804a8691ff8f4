"""Is a difference between strategies significant? Intervals and a paired test, both over queries and seeds.

There are two sources of chance: the sample of queries, and the seeds of the runs. A test over queries alone would
judge these particular models, not the strategies. A test over seeds alone would ignore that other queries could rank
the strategies differently. The null distribution here has both sources. The sign of each query's difference is flipped
at random, and a draw of Student's t, scaled by the standard error over seeds, is added to each resampled mean. The
effect of a seed on a single query would then count twice, so its variance is subtracted from the queries' part, where
many values estimate it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

Values = NDArray[np.float64]

RESAMPLES = 10_000
BLOCK = 500  # resamples whose signs are drawn at once
PAIRS = 256  # pairs that are tested at once; [resamples, pairs] is the largest array
EPSILON = 1e-5  # relative tolerance of a resampled difference (float32): one equal to the observed is as extreme
SPARE = 40  # resamples for each pair, so that the smallest corrected p stays well below 0.05 with many pairs


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


@dataclass(frozen=True)
class Pair:
    """The comparison of two strategies by their place in the list that was tested.

    ``difference`` is first minus second, in the metric's unit, with the 95 % CI ``low`` to ``high``. ``effect`` is the
    difference divided by the standard deviation of the queries' differences (Cohen's d for paired values). ``wins``
    and ``losses`` are the shares of queries on which the first is better and worse, averaged over seeds. ``p`` is
    two-sided, and ``least`` is the smallest p that this many resamples can show. ``adjusted`` is p after Holm's
    correction over all pairs that were tested together.
    """

    first: int
    second: int
    difference: float
    low: float
    high: float
    effect: float
    wins: float
    losses: float
    p: float
    least: float
    adjusted: float


def paired(runs: Sequence[Values], seed: int = 0, resamples: int = RESAMPLES) -> list[Pair]:
    """Test every pair of strategies; ``runs`` holds one array [seeds, Q] of per-query values for each.

    All have the same Q queries in the same order and at least two seeds; the numbers of seeds may differ. The variance
    over seeds is assumed equal for all strategies and pooled over them, as in an analysis of variance, because three
    seeds alone estimate it badly. Many pairs increase the number of ``resamples``. Raises ``ValueError`` when a
    strategy has one seed.
    """
    if any(len(values) < 2 for values in runs):
        raise ValueError("a strategy with one seed cannot be tested")
    pairs = list(combinations(range(len(runs)), 2))
    if not pairs:
        return []
    means = np.stack([values.mean(0) for values in runs])
    variance, freedom = _seed_variance(runs)
    firsts, seconds = np.array(pairs).T
    differences = means[firsts] - means[seconds]
    error = np.array([(variance * (1 / len(runs[a]) + 1 / len(runs[b]))) ** 0.5 for a, b in pairs])
    observed = differences.mean(1)
    noise = [_noise(values) / len(values) for values in runs]
    whole = differences.var(1, ddof=1)
    queries = np.array([1 - (noise[a] + noise[b]) / w if w else 0.0 for (a, b), w in zip(pairs, whole, strict=True)])
    rng = np.random.default_rng(seed)
    resamples = max(resamples, SPARE * len(pairs))
    flipped = _flipped(means - means.mean(0), resamples, rng)
    p, reach = np.empty(len(pairs)), np.empty(len(pairs))
    for start in range(0, len(pairs), PAIRS):
        some = slice(start, start + PAIRS)
        null = (flipped[:, firsts[some]] - flipped[:, seconds[some]]) * np.sqrt(np.maximum(queries[some], 0.0))
        null += error[some] * rng.standard_t(freedom, size=null.shape)
        extreme = np.abs(null) >= np.abs(observed[some]) * (1 - EPSILON) - 1e-12
        p[some] = (extreme.sum(0) + 1) / (resamples + 1)
        reach[some] = np.quantile(np.abs(null - null.mean(0)), 0.95, axis=0)
    deviation = differences.std(1, ddof=1)
    return [
        Pair(
            a,
            b,
            float(observed[k]),
            float(observed[k] - reach[k]),
            float(observed[k] + reach[k]),
            float(observed[k] / deviation[k]) if deviation[k] else 0.0,
            float((differences[k] > 0).mean()),
            float((differences[k] < 0).mean()),
            float(p[k]),
            1 / (resamples + 1),
            float(adjusted),
        )
        for k, ((a, b), adjusted) in enumerate(zip(pairs, holm(p), strict=True))
    ]


def widened(pair: Pair, queries: int) -> Pair:
    """``pair`` of two metrics in percent, with half a query more on which each is better (Agresti and Min 2005).

    No sample of queries shows that two rows agree on every query, so no interval of a difference is a point.
    """
    reach = float(np.hypot((pair.high - pair.low) / 2, float(ndtri(0.975)) * 100 / (queries + 2)))
    return replace(pair, low=pair.difference - reach, high=pair.difference + reach)


def _seed_variance(runs: Sequence[Values]) -> tuple[float, int]:
    """Variance of a run's mean over seeds, pooled over strategies, and its degrees of freedom."""
    freedom = sum(len(values) - 1 for values in runs)
    squares = sum(float(np.square(values.mean(1) - values.mean()).sum()) for values in runs)
    return squares / freedom, freedom


def _noise(values: Values) -> float:
    """Residual variance of a single value, after the effects of its run and its query."""
    rest = values - values.mean(1, keepdims=True) - values.mean(0) + values.mean()
    return float(np.square(rest).sum() / (len(values) - 1) / max(1, values.shape[1] - 1))


def _flipped(values: Values, resamples: int, rng: np.random.Generator) -> Values:
    """[resamples, R] means of ``values`` [R, Q], every query's sign drawn anew, comparable for all rows."""
    queries = values.shape[1]
    scaled = (values.T / queries).astype(np.float32)
    null = np.empty((resamples, len(values)))
    for start in range(0, resamples, BLOCK):
        rows = min(BLOCK, resamples - start)
        bits = np.unpackbits(np.frombuffer(rng.bytes(rows * -(-queries // 8)), dtype=np.uint8))
        signs = bits.reshape(rows, -1)[:, :queries].astype(np.float32) * 2 - 1
        null[start : start + rows] = signs @ scaled
    return null


def holm(p: Sequence[float] | Values) -> Values:
    """p after Holm's step-down correction: rejecting where it is at most a level bounds the family-wise error by it."""
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * (len(values) - np.arange(len(values))))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted
