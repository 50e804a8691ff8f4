"""How often the test of ``bench compare`` calls chance significant, and how often it finds a difference.

    python benchmarks/false_alarms.py [TABLES [WORD ...]]

prints one line for each setting of simulated tables: how many rows, how many seeds, how seeds vary. With words, such as
seeds=3, only the settings that have all of them. The columns are percent of TABLES (1,000 by default):

- tables with a false alarm in the family of all pairs, of all rows against the baseline (the first row), and of the
  best row against the rest;
- pairs whose 95 % CI contains the true difference;
- tables in which the last row's difference from the baseline is found, by the family of all pairs and by the
  baseline's. It is 3 times its standard error where seeds have the usual deviation;
- of a mixed model with one variance for all rows (see ``mixed_model``): false alarms against the baseline, coverage,
  and the difference found.

The standard error of a share of 5 % of 1,000 tables is 0.7.

With the word ``narrower`` it prints instead what narrower intervals would do with few seeds: the percent of intervals
that hold the true difference when their widths are multiplied by 1, 0.9 and 0.8, where two rows' seeds are equally
noisy, and where one's are not. With two rows, 100 minus that is the percent of false alarms.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from bench.compare.comparison import LEVEL
from bench.compare.interval import Values
from bench.compare.statistics import not_best, paired

RESAMPLES = 1000
WIDTHS = (1.0, 0.9, 0.8)  # of intervals, relative to those of the test


@dataclass(frozen=True)
class Setting:
    """Tables of ``rows`` with ``seeds`` each, whose runs are measured on ``queries``.

    ``spread`` is how seeds' deviations differ: ``equal``; ``noisy``, one row's 5 times as large as the others';
    ``published``, drawn from those of the docstrings table of November 2026. ``correlation`` is that of a seed's
    effects on two rows. ``query`` is the deviation of a row's mean over queries, where the usual seed's is 1.
    ``tails``: values of queries are normal, or of Student's t with 3 degrees of freedom. With ``recall`` they are
    answered (100) or not (0), and that is the mean in percent.
    """

    rows: int
    seeds: int
    spread: str = "equal"
    correlation: float = 0.0
    query: float = 0.5
    queries: int = 200
    tails: str = "normal"
    recall: float | None = None

    def table(self, rng: np.random.Generator, lead: float = 0.0) -> list[Values]:
        """One array [seeds, queries] for each row; the last row's true mean is ``lead`` higher, in standard errors."""
        common = rng.normal(size=self.seeds)
        own = rng.normal(size=(self.rows, self.seeds))
        shared = self.correlation**0.5 * common + (1 - self.correlation) ** 0.5 * own
        effects = shared * self._deviations(rng)[:, None]
        mean = np.zeros(self.rows)
        mean[-1] = lead * (2 * (1 / self.seeds + self.query**2)) ** 0.5
        ease = 2 * rng.normal(size=self.queries)
        view = self._tailed(rng, (self.rows, self.queries)) * self.query * self.queries**0.5
        noise = self._tailed(rng, (self.rows, self.seeds, self.queries))
        values = (mean[:, None] + effects)[:, :, None] + (ease + view)[:, None, :] + noise
        if self.recall is not None:  # in a unit in which a query's values have the deviation 1
            scale = (1 + self.query**2 * self.queries + 4) ** 0.5
            values = 100.0 * (values / scale > stats.norm.isf(self.recall / 100))
        return list(values)

    def _tailed(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
        return rng.normal(size=shape) if self.tails == "normal" else rng.standard_t(3, size=shape) / 3**0.5

    def _deviations(self, rng: np.random.Generator) -> Values:
        found = np.ones(self.rows)
        if self.spread == "noisy":
            found[self.rows // 2] = 5.0
        if self.spread == "published":
            found = rng.choice(PUBLISHED, self.rows) / np.median(PUBLISHED)
        return found


# Standard deviations over three seeds of recall@1, docstrings, reports/results/2026-11/report.md.
PUBLISHED = (0.05, 0.05, 0.09, 0.11, 0.24, 0.30, 0.31, 0.33, 0.36, 0.39, 0.41, 0.41, 0.53, 0.53, 0.76, 0.77, 1.20)


def alarms(setting: Setting, rng: np.random.Generator, lead: float = 0.0) -> tuple[bool, bool, bool, float]:
    """Of one table: whether the last row's difference from the first is significant among all pairs, and against the
    baseline, or without a ``lead`` whether any is; whether a best row is excluded; the share of intervals that hold."""
    runs = setting.table(rng, lead)
    seeds = [tuple(range(setting.seeds))] * setting.rows
    pairs = paired(runs, seeds, seed=int(rng.integers(1 << 31)), resamples=RESAMPLES)
    last = setting.rows - 1
    asked = [pair for pair in pairs if not lead or (pair.first, pair.second) == (0, last)]
    truths = [-lead * (2 * (1 / setting.seeds + setting.query**2)) ** 0.5 * (pair.second == last) for pair in pairs]
    return (
        any(pair.adjusted <= LEVEL for pair in asked),
        any(pair.against_first <= LEVEL for pair in asked if pair.first == 0),
        not_best(pairs, setting.rows)[setting.rows // 2] <= LEVEL,
        float(np.mean([pair.low <= truth <= pair.high for pair, truth in zip(pairs, truths, strict=True)])),
    )


def mixed_model(setting: Setting, rng: np.random.Generator, lead: float = 0.0) -> tuple[bool, float]:
    """The same of a mixed model: whether the last row, or without a ``lead`` any row, differs from the first
    significantly; the share of intervals of all pairs that hold the true difference.

    Rows are fixed; queries, queries within rows, and runs are random, with one variance each. In such a balanced table
    REML's estimates are those of the analysis of variance. Degrees of freedom are Satterthwaite's, the family is
    Dunnett's.
    """
    values = np.stack(setting.table(rng, lead))
    rows, seeds, queries = values.shape
    means, by_query, by_run = values.mean((1, 2)), values.mean(1), values.mean(2)
    rest = values - by_query[:, None] - by_run[:, :, None] + means[:, None, None]
    crossed = by_query - by_query.mean(0) - means[:, None] + means.mean()
    squares = [  # mean squares of queries within rows, of runs, of the residual, with their degrees of freedom
        (seeds * np.square(crossed).sum(), (rows - 1) * (queries - 1)),
        (queries * np.square(by_run - means[:, None]).sum(), rows * (seeds - 1)),
        (np.square(rest).sum(), rows * (seeds - 1) * (queries - 1)),
    ]
    of_query, of_run, residual = (total / freedom for total, freedom in squares)
    variance = max(of_query + of_run - residual, of_query, of_run, 1e-12) * 2 / (seeds * queries)
    freedom = (of_query + of_run + 1e-12) ** 2 / (of_query**2 / squares[0][1] + of_run**2 / squares[1][1] + 1e-24)
    t = np.abs(means[:, None] - means) / variance**0.5
    null = rng.normal(size=(2000, rows))
    largest = np.abs(null[:, 1:] - null[:, :1]).max(1) / (2 * rng.chisquare(freedom, 2000) / freedom) ** 0.5
    different = t[0, 1:] > np.quantile(largest, 1 - LEVEL)
    truth = np.zeros(rows)
    truth[-1] = lead * (2 * (1 / seeds + setting.query**2)) ** 0.5
    off = np.abs(means[:, None] - means - truth[:, None] + truth)[np.triu_indices(rows, 1)] / variance**0.5
    return bool(different[-1] if lead else different.any()), float((off <= stats.t.ppf(0.975, freedom)).mean())


def measured(setting: Setting, tables: int, lead: float = 3.0, seed: int = 1) -> list[float]:
    """The columns of one line, in percent."""
    streams = [np.random.default_rng([seed, number]) for number in range(4)]
    null = np.mean([alarms(setting, streams[0]) for _ in range(tables)], axis=0)
    found = np.mean([alarms(setting, streams[1], lead) for _ in range(tables)], axis=0)
    model = np.mean([mixed_model(setting, streams[2]) for _ in range(tables)], axis=0)
    power = np.mean([mixed_model(setting, streams[3], lead)[0] for _ in range(tables)])
    return [100 * float(value) for value in (*null, found[0], found[1], model[0], model[1], power)]


def narrower(setting: Setting, tables: int) -> list[float]:
    """Percent of 95 % CIs of no difference that hold when their widths are multiplied by each of ``WIDTHS``."""
    rng, held = np.random.default_rng(11), np.zeros(len(WIDTHS))
    for _ in range(tables):
        pairs = paired(setting.table(rng), seed=int(rng.integers(1 << 31)), resamples=RESAMPLES)
        off = np.array([2 * abs(pair.difference) / (pair.high - pair.low) for pair in pairs])
        held += [100 * (off <= width).mean() for width in WIDTHS]
    return [float(value) for value in held / tables]


def settings() -> Iterator[Setting]:
    """The settings of the table in docs/protocol.md."""
    for spread in ("equal", "noisy", "published"):
        for rows in (2, 4, 8, 18):
            for seeds in (2, 3, 5, 10):
                yield Setting(rows, seeds, spread)
    for rows in (2, 8):
        usual = Setting(rows, 3)
        yield replace(usual, query=0.0)
        yield replace(usual, query=0.0, spread="noisy")
        yield replace(usual, query=2.0)
        for correlation in (0.3, 0.6, 0.9):
            yield replace(usual, correlation=correlation)
            yield replace(usual, correlation=correlation, spread="noisy")
        yield replace(usual, queries=50)
        yield replace(usual, tails="heavy")
        for recall in (1.0, 50.0, 99.0):
            yield replace(usual, queries=1000, recall=recall)
        yield replace(usual, queries=50, recall=99.0)


def main() -> None:
    """Print the table."""
    tables, words = int(sys.argv[1]) if len(sys.argv) > 1 else 1000, set(sys.argv[2:])
    if "narrower" in words:
        for seeds, spread in ((seeds, spread) for seeds in (2, 3) for spread in ("equal", "noisy")):
            print(seeds, spread, *(f"{v:.1f}" for v in narrower(Setting(2, seeds, spread), tables)), flush=True)
        return
    columns = ("all pairs", "baseline", "best", "CI", "found", "found, baseline", "mixed", "its CI", "it finds")
    print("setting".ljust(96), *columns, sep=" | ")
    for setting in settings():
        known = [f"{key}={value}" for key, value in vars(setting).items() if value is not None]
        if not words <= set(known):
            continue
        said = " ".join(known)
        print(said.ljust(96), *(f"{v:.1f}" for v in measured(setting, tables)), sep=" | ", flush=True)


if __name__ == "__main__":
    main()
