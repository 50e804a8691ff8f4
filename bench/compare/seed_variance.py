"""How much the seed of a run matters, row by row: moderated variances, pairing by seed, evidence that rows are unequal.

Two or three seeds say little about a row's variance. A variance that is pooled over rows is too small for a noisy row,
and its own variance needs Student's t of one or two degrees of freedom. Moderated variances (Smyth 2004) stand between:
the variances of the rows are a sample of a distribution that the table itself estimates. Here it is a mixture of two
scaled inverse chi-square distributions. Most rows may share one variance, and some have a variance of their own, as in
robust moderation (Phipson et al. 2016). How many, how different, and the common variance stay uncertain with few rows,
so they are integrated over a grid instead of being fixed at an estimate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from bench.compare.interval import Values

# What is possible before the data, and its weight; chosen once, by simulation (docs/protocol.md).
COMMON = 64.0  # d0 of rows that share a variance: nearly equal
OWN = np.array([0.25, 0.5, 1.0])  # d0 of rows with a variance of their own, of weight 1/d0: little in common
SHARES = np.array([0.1, 0.3, 0.6, 1.0])  # of rows with a variance of their own
WEIGHTS = np.array([1.0, 1.0, 1.0, 4.0])  # of the shares
SCALES = np.exp(np.arange(-8, 5.25, 0.25))  # of the common variance, relative to the pooled one; equal weights
LEFT = 8  # degrees of freedom that pairing by seed must leave (docs/protocol.md)
TABLES = 20_000  # simulated tables of equal variances


@dataclass(frozen=True)
class SeedVariance:
    """Of R rows the variance of a run's mean over seeds.

    ``variance`` ``[R]`` is in the metric's unit squared, with ``freedom`` ``[R]`` degrees of freedom; ``seeds`` ``[R]``
    are the numbers of seeds.
    """

    variance: Values
    freedom: Values
    seeds: Values

    def deviations(self, resamples: int, least: Values, rng: np.random.Generator) -> Values:
        """[resamples, R] deviations of the rows' means that their seeds can cause, with variances drawn anew each time.

        ``least`` ``[R]`` are lower limits of the variances.
        """
        drawn = np.maximum(self._drawn(resamples, rng), least)
        return rng.standard_normal(drawn.shape) * np.sqrt(drawn / self.seeds)

    def _drawn(self, resamples: int, rng: np.random.Generator) -> Values:
        """[resamples, R] variances, drawn from their posterior distribution.

        Given d0 and the common variance s0, the variance of a row is (d0 s0 + d s) over a chi-square of d0 + d degrees
        of freedom, where s is the row's own estimate with d (Smyth 2004). Each resample draws s0, the share of rows
        with a variance of their own and their d0, and then which rows these are.
        """
        own = self.freedom * self.variance
        pooled = own.sum() / self.freedom.sum()
        if not pooled:
            return np.zeros((resamples, len(own)))
        scales = pooled * SCALES
        both = [self._likelihood(d0, scales) for d0 in (np.array([COMMON]), OWN)]  # [1, S, R] and [D, S, R]
        largest = np.maximum(*both)
        common, other = (np.exp(part - largest) for part in both)
        shares = SHARES[:, None, None, None]
        of_row = (1 - shares) * common + shares * other  # [P, D, S, R]
        weight = (np.log(of_row) + largest).sum(3) + np.log(WEIGHTS)[:, None, None] - np.log(OWN)[:, None]
        chance = np.exp(weight - weight.max())
        cell = np.unravel_index(rng.choice(chance.size, resamples, p=chance.ravel() / chance.sum()), chance.shape)
        apart = rng.random((resamples, len(own))) < (shares * other / of_row)[cell]
        prior = np.where(apart, OWN[cell[1]][:, None], COMMON)
        drawn: Values = (prior * scales[cell[2]][:, None] + own) / rng.chisquare(prior + self.freedom)
        return drawn

    def _likelihood(self, d0: Values, scales: Values) -> Values:
        """[d0, scales, R] logarithms: of the rows' own estimates, each a scaled F, without what all cells share."""
        d0, common, d = d0[:, None, None], scales[:, None], self.freedom
        ratio = d * self.variance / (d0 * common)
        whole: Values = gammaln((d0 + d) / 2) - gammaln(d0 / 2) - d / 2 * np.log(d0 * common)
        return whole - (d0 + d) / 2 * np.log1p(ratio)


def seed_variance(means: Sequence[Values], seeds: Sequence[Sequence[int]] | None = None) -> SeedVariance:
    """The variances of rows from ``means``, one array of the runs' means (in order of seed) for each row.

    Where all rows have the same ``seeds``, and enough degrees of freedom are left, the mean over rows of each seed is
    subtracted first: runs of one seed share the order of batches and new weights.
    """
    numbers = np.array([len(of_row) for of_row in means], dtype=np.float64)
    rest = [of_row - of_row.mean() for of_row in means]
    freedom = numbers - 1
    if seeds is not None and paired_by_seed(seeds):
        rest = list(np.stack(rest) - np.mean(rest, axis=0))
        freedom = freedom * (1 - 1 / len(rest))
    variance = np.array([float(np.square(of_row).sum()) for of_row in rest]) / freedom
    return SeedVariance(variance, freedom, numbers)


def paired_by_seed(seeds: Sequence[Sequence[int]]) -> bool:
    """Whether rows of these ``seeds`` are paired: the same for all rows, and enough degrees of freedom are left."""
    return len({tuple(of_row) for of_row in seeds}) == 1 and (len(seeds) - 1) * (len(seeds[0]) - 1) >= LEFT


def equality(means: Sequence[Values], seed: int = 0) -> tuple[int, float, float]:
    """The row of the largest variance over seeds, that variance as a share of all, and p of equal variances.

    It is Cochran's test (1941) of the largest variance, which rows of equal seeds do not disturb. p is the share of
    simulated tables of normal seeds with equal variances whose largest share is at least as large.
    """
    variance = np.array([float(np.var(of_row, ddof=1)) for of_row in means])
    if not variance.any():
        return 0, 1 / len(variance), 1.0
    freedom = np.array([len(of_row) - 1 for of_row in means])
    null = np.random.default_rng(seed).chisquare(freedom, size=(TABLES, len(means))) / freedom
    largest, share = int(variance.argmax()), float(variance.max() / variance.sum())
    extreme = (null.max(1) / null.sum(1) >= share).sum()
    return largest, share, float((extreme + 1) / (TABLES + 1))
