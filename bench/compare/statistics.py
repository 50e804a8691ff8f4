"""Is a difference between strategies significant? A paired test over queries and seeds, and three families of p values.

There are two sources of chance: the sample of queries, and the seeds of the runs. A test over queries alone would
judge these particular models, not the strategies. A test over seeds alone would ignore that other queries could rank
the strategies differently. The null distribution here has both sources. The sign of each query's deviation is flipped
at random, the same for all rows, and each row's mean deviates as its own seeds let it (:mod:`~.seed_variance`). The
effect of a seed on a single query would then count twice, so its variance is subtracted from the queries' part, where
many values estimate it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from bench.compare.interval import Values
from bench.compare.seed_variance import seed_variance

Places = NDArray[np.intp]

RESAMPLES = 10_000
BLOCK = 500  # resamples whose signs are drawn at once
PAIRS = 256  # pairs that are tested at once; [pairs, resamples] is the largest array
EPSILON = 1e-5  # relative tolerance of a resampled difference (float32): one equal to the observed is as extreme


@dataclass(frozen=True)
class Pair:
    """The comparison of two strategies by their place in the list that was tested.

    ``difference`` is first minus second, in the metric's unit, with the 95 % CI ``low`` to ``high``. ``effect`` is the
    difference divided by the standard deviation of the queries' differences (Cohen's d for paired values). ``wins``
    and ``losses`` are the shares of queries on which the first is better and worse, averaged over seeds.

    Every p is two-sided, and ``least`` is the smallest that this many resamples can show. ``p`` is of this pair alone.
    ``adjusted`` is corrected for the family of all pairs. ``against_first`` is corrected for the family of all rows
    against the first as their baseline, and ``against_second`` for all rows against the second.
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
    against_first: float
    against_second: float

    def turned(self) -> Pair:
        """Second minus first."""
        return Pair(
            *(self.second, self.first, -self.difference, -self.high, -self.low, -self.effect, self.losses, self.wins),
            *(self.p, self.least, self.adjusted, self.against_second, self.against_first),
        )


def paired(
    runs: Sequence[Values], seeds: Sequence[Sequence[int]] | None = None, seed: int = 0, resamples: int = RESAMPLES
) -> list[Pair]:
    """Test every pair of strategies; ``runs`` holds one array [seeds, Q] of per-query values for each.

    All have the same Q queries in the same order and at least two seeds; the numbers of seeds may differ. ``seeds``
    are the seeds of each strategy's runs, in order; where they are known and equal, rows can be paired by seed.
    Variances over seeds need not be equal. Raises ``ValueError`` when a strategy has one seed.
    """
    if any(len(values) < 2 for values in runs):
        raise ValueError("a strategy with one seed cannot be tested")
    if len(runs) < 2:
        return []
    chance = _Chance(runs, seeds, resamples, np.random.default_rng(seed))
    firsts, seconds = chance.firsts, chance.seconds
    p, reach = chance.alone()
    ratio = _ratio(chance.observed, reach)
    adjusted = chance.adjusted(np.arange(len(firsts)), reach, ratio)
    against = np.ones((2, len(firsts)))  # of each pair with its first, and with its second, as baseline
    for baseline in range(len(runs)):
        (some,) = np.nonzero((firsts == baseline) | (seconds == baseline))
        corrected = chance.adjusted(some, reach, ratio)
        against[np.where(firsts[some] == baseline, 0, 1), some] = corrected
    difference, effect, wins, losses = _of_sample(chance.values, firsts, seconds)
    least = np.full(len(firsts), 1 / (resamples + 1))
    told = (difference, difference - reach, difference + reach, effect, wins, losses, p, least, adjusted, *against)
    return [
        Pair(*values) for values in zip(firsts.tolist(), seconds.tolist(), *(of.tolist() for of in told), strict=True)
    ]


def _of_sample(means: Values, firsts: Places, seconds: Places) -> tuple[Values, ...]:
    """Of each pair of rows of ``means`` [R, Q]: difference, effect, share of wins and of losses, as a :class:`Pair`."""
    parts = []
    for some in _blocks(np.arange(len(firsts))):
        by_query = means[firsts[some]] - means[seconds[some]]
        difference, deviation = by_query.mean(1), by_query.std(1, ddof=1)
        effect = np.divide(difference, deviation, out=np.zeros_like(difference), where=deviation > 0)
        parts.append((difference, effect, (by_query > 0).mean(1), (by_query < 0).mean(1)))
    return tuple(np.concatenate(of_all) for of_all in zip(*parts, strict=True))


def not_best(pairs: Sequence[Pair], rows: int) -> list[float]:
    """For each row the p of the hypothesis that no row is better: multiple comparisons with the best (Hsu 1981).

    The data choose which row is best, so every row is tested as if it were the baseline, against all others (Edwards
    and Hsu 1983). Only the test of the truly best row can be a false alarm, so no correction over rows is due.
    """
    p = [1.0] * rows
    for pair in pairs:
        if pair.difference > 0:
            p[pair.second] = min(p[pair.second], pair.against_second)
        elif pair.difference < 0:
            p[pair.first] = min(p[pair.first], pair.against_first)
    return p


class _Chance:
    """The null distribution of the differences of all pairs, jointly: ``resamples`` deviations of every row's mean.

    ``values`` [R, Q] are the means over seeds, and ``observed`` the absolute differences of the rows ``firsts`` and
    ``seconds``, which are all pairs.
    """

    def __init__(
        self, runs: Sequence[Values], seeds: Sequence[Sequence[int]] | None, resamples: int, rng: np.random.Generator
    ) -> None:
        self.values = values = np.stack([of_row.mean(0) for of_row in runs])
        means, centred = values.mean(1), values - values.mean(0)
        self.firsts, self.seconds = np.triu_indices(len(runs), 1)
        self.observed = np.abs(means[self.firsts] - means[self.seconds])
        self.resamples = resamples
        noise = np.array([_noise(of_row) for of_row in runs])
        self._queries_part = self._without(noise / [len(of_row) for of_row in runs], centred)
        variance = seed_variance([of_row.mean(1) for of_row in runs], seeds)
        self._by_query = _flipped(centred, resamples, rng)
        # The mean of a run cannot vary less than the noise of its single values makes it.
        self._by_seed = np.ascontiguousarray(variance.deviations(resamples, noise / values.shape[1], rng).T)

    def _without(self, noise: Values, centred: Values) -> Values:
        """The factor of each pair's deviations over queries that takes the noise of single values out of them."""
        parts = []
        for some in _blocks(np.arange(len(self.firsts))):
            firsts, seconds = self.firsts[some], self.seconds[some]
            whole = (centred[firsts] - centred[seconds]).var(1, ddof=1)
            share = np.divide(noise[firsts] + noise[seconds], whole, out=np.ones_like(whole), where=whole > 0)
            parts.append(np.sqrt(np.maximum(1 - share, 0.0)))
        return np.concatenate(parts)

    def _differences(self, some: Places) -> Values:
        """[pairs, resamples] absolute differences that chance alone makes of ``some`` pairs."""
        firsts, seconds = self.firsts[some], self.seconds[some]
        null = self._by_query[firsts]
        null -= self._by_query[seconds]
        null *= self._queries_part[some, None]
        null += self._by_seed[firsts] - self._by_seed[seconds]
        return np.abs(null, out=null)

    def alone(self) -> tuple[Values, Values]:
        """For each pair its own two-sided p, and the reach of the 95 % CI of its difference."""
        p, reach = np.empty(len(self.firsts)), np.empty(len(self.firsts))
        for some in _blocks(np.arange(len(self.firsts))):
            null = self._differences(some)
            p[some] = self._share((null >= self.observed[some, None] * (1 - EPSILON) - 1e-12).sum(1))
            reach[some] = np.quantile(null, 0.95, axis=1)
        return p, reach

    def adjusted(self, some: Places, reach: Values, ratio: Values) -> Values:
        """p corrected for the family of ``some`` pairs by step-down maxima (Westfall and Young 1993, algorithm 2.8).

        ``ratio`` are the observed differences in units of their ``reach``. A pair's p is the share of resamples in
        which the largest ratio among this pair and those of smaller ratios is as large as its own.
        """
        order = np.argsort(ratio[some], kind="stable")
        largest, p = np.zeros(self.resamples), np.empty(len(some))
        for places in _blocks(order):
            of = some[places]
            null = _ratio(self._differences(of), reach[of, None])
            np.maximum(null[0], largest, out=null[0])
            null = np.maximum.accumulate(null, axis=0, out=null)
            p[places] = self._share((null >= ratio[of, None] * (1 - EPSILON)).sum(1))
            largest = null[-1]
        p[order[::-1]] = np.maximum.accumulate(p[order[::-1]])
        return p

    def _share(self, extreme: Values) -> Values:
        shares: Values = (extreme + 1) / (self.resamples + 1)
        return shares


def _blocks(places: Places) -> list[Places]:
    """At most ``PAIRS`` of them each."""
    return [places[start : start + PAIRS] for start in range(0, len(places), PAIRS)]


def _ratio(differences: Values, reach: Values) -> Values:
    """Absolute differences in units of their reach; rows that cannot differ do not differ."""
    ratio: Values = np.divide(differences, reach, out=np.zeros_like(differences), where=reach > 0)
    return ratio


def widened(pair: Pair, queries: int) -> Pair:
    """``pair`` of two metrics in percent, with half a query more on which each is better (Agresti and Min 2005).

    No sample of queries shows that two rows agree on every query, so no interval of a difference is a point.
    """
    reach = float(np.hypot((pair.high - pair.low) / 2, float(ndtri(0.975)) * 100 / (queries + 2)))
    return replace(pair, low=pair.difference - reach, high=pair.difference + reach)


def _noise(values: Values) -> float:
    """Residual variance of a single value, after the effects of its run and its query."""
    rest = values - values.mean(1, keepdims=True) - values.mean(0) + values.mean()
    return float(np.square(rest).sum() / (len(values) - 1) / max(1, values.shape[1] - 1))


def _flipped(values: Values, resamples: int, rng: np.random.Generator) -> Values:
    """[R, resamples] means of ``values`` [R, Q], every query's sign drawn anew, comparable for all rows."""
    queries = values.shape[1]
    scaled = (values.T / queries).astype(np.float32)
    null = np.empty((len(values), resamples))
    signs = np.empty((BLOCK, queries), dtype=np.float32)
    for start in range(0, resamples, BLOCK):
        rows = min(BLOCK, resamples - start)
        bits = np.unpackbits(np.frombuffer(rng.bytes(rows * -(-queries // 8)), dtype=np.uint8))
        np.multiply(bits.reshape(rows, -1)[:, :queries], 2.0, out=signs[:rows], casting="unsafe")
        signs[:rows] -= 1
        null[:, start : start + rows] = (signs[:rows] @ scaled).T
    return null
