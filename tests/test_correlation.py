"""Correlations as means of one value a pair: scipy's numbers, the jackknife's influences, false alarms of tests."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bench.compare.interval import Values
from bench.compare.statistics import paired
from bench.evaluate.correlation import pearson, spearman


def pairs(kind: str, n: int, seed: int = 0) -> tuple[Values, Values]:
    """Cosines and scores that correlate: scores are real, of six grades, or yes and no."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    y = x + rng.normal(size=n)
    if kind == "grades":
        return np.round(x, 1), np.clip(np.round(y), -2, 3)
    return x, (y > 0.4).astype(np.float64) if kind == "binary" else y


@pytest.mark.parametrize("kind", ["real", "grades", "binary"])
@pytest.mark.parametrize("n", [4, 57, 1000])
def test_the_mean_is_scipy_s_correlation(kind: str, n: int) -> None:
    x, y = pairs(kind, n)
    assert spearman(x, y).mean() == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
    assert pearson(x, y).mean() == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-12)


@pytest.mark.parametrize("kind", ["real", "grades", "binary"])
@pytest.mark.parametrize(("ours", "theirs"), [(spearman, stats.spearmanr), (pearson, stats.pearsonr)])
def test_the_values_are_the_jackknife_s_to_first_order(kind: str, ours, theirs) -> None:  # type: ignore[no-untyped-def]
    x, y = pairs(kind, 300)
    whole = theirs(x, y).statistic
    without = np.array([theirs(np.delete(x, i), np.delete(y, i)).statistic for i in range(300)])
    pseudo = 300 * whole - 299 * without
    values = ours(x, y)
    assert np.corrcoef(values, pseudo)[0, 1] > 0.9999
    assert values.std() == pytest.approx(pseudo.std(), rel=0.02)


def test_their_variance_is_that_of_the_correlation_over_samples() -> None:
    rng = np.random.default_rng(0)
    drawn = [rng.multivariate_normal([0, 0], [[1, 0.7], [0.7, 1]], size=200).T for _ in range(1000)]
    values = [spearman(x, y) for x, y in drawn]
    expected = np.std([v.mean() for v in values])
    assert np.sqrt(np.mean([v.var(ddof=1) / 200 for v in values])) == pytest.approx(expected, rel=0.06)


@pytest.mark.parametrize("correlation", [spearman, pearson])
def test_a_side_of_equal_values_has_no_correlation(correlation) -> None:  # type: ignore[no-untyped-def]
    assert np.isnan(correlation(np.ones(5), np.arange(5.0))).all()
    assert np.isnan(correlation(np.arange(5.0), np.full(5, 0.3))).all()


def alarms(rng: np.random.Generator, binary: bool, rows: int, seeds: int, own: float, seed: float) -> bool:
    """Whether a significant difference is found between rows that do not differ in quality.

    ``own`` is the deviation of what a row makes of a pair, ``seed`` of the quality of one seed.
    """
    gold = rng.normal(size=200)
    label = (gold > 0.4).astype(np.float64) if binary else gold
    runs = []
    for _ in range(rows):
        view = rng.normal(size=200) * own
        quality = 1 + seed * rng.normal(size=seeds)
        runs.append(np.stack([spearman(q * gold + view + 0.3 * rng.normal(size=200), label) for q in quality]))
    return any(pair.adjusted <= 0.05 for pair in paired(runs, resamples=400))


@pytest.mark.parametrize(
    ("binary", "rows", "seeds", "own", "seed"),
    [(False, 2, 3, 0.7, 0.0), (True, 2, 3, 0.7, 0.05), (False, 4, 2, 0.5, 0.05), (True, 4, 3, 0.3, 0.0)],
)
def test_where_nothing_differs_one_in_twenty_comparisons_at_most_says_so(
    binary: bool, rows: int, seeds: int, own: float, seed: float
) -> None:
    """Ranks couple the pairs, and still the test of values a pair holds its level."""
    rng = np.random.default_rng(1)
    assert sum(alarms(rng, binary, rows, seeds, own, seed) for _ in range(250)) <= 12 + 7  # two standard errors


def test_a_difference_that_is_there_is_found() -> None:
    rng, found = np.random.default_rng(2), 0
    for _ in range(40):
        gold = rng.normal(size=400)
        runs = [np.stack([spearman(gold + n * rng.normal(size=400), gold) for _ in range(5)]) for n in (0.9, 1.2)]
        found += paired(runs, resamples=400)[0].p <= 0.05
    assert found >= 36
