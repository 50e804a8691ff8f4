"""How much the seed of a run matters, row by row: moderated variances, pairing by seed, evidence that rows are unequal.

Two or three seeds say little about a row's variance. A variance that is pooled over rows is too small for a noisy row,
and its own variance needs Student's t of one or two degrees of freedom. Moderated variances (Smyth 2004) stand between:
the variances of the rows are a sample of a scaled inverse chi-square distribution, whose scale and degrees of freedom
``d0`` the table itself estimates. Both stay uncertain with few rows, so they are integrated over a grid instead of
being fixed at an estimate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from bench.compare.interval import Values

FREEDOM = 2.0 ** np.arange(-2, 5)  # of d0: from rows that have little in common to rows that are nearly equal
PRIOR = 1 / FREEDOM  # weight of each d0 before the data; chosen once, by simulation (docs/protocol.md)
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
        of freedom, where s is the row's own estimate with d (Smyth 2004). The likelihood of s is that of a scaled F.
        """
        own = self.freedom * self.variance
        pooled = own.sum() / self.freedom.sum()
        if not pooled:
            return np.zeros((resamples, len(own)))
        d0, common = FREEDOM[:, None, None], pooled * SCALES[None, :, None]
        likelihood = (
            gammaln((d0 + self.freedom) / 2)
            - gammaln(d0 / 2)
            - self.freedom / 2 * np.log(d0 * common)
            - (d0 + self.freedom) / 2 * np.log1p(own / (d0 * common))
        ).sum(2) + np.log(PRIOR)[:, None]
        weight = np.exp(likelihood - likelihood.max()).ravel()
        cell = rng.choice(len(weight), resamples, p=weight / weight.sum())
        freedom, scale = (part[:, None] for part in np.divmod(cell, len(SCALES)))
        prior = FREEDOM[freedom]
        drawn: Values = (prior * pooled * SCALES[scale] + own) / rng.chisquare(prior + self.freedom)
        return drawn


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
