"""Simulated tables: how often chance is called significant, whether intervals hold, what is found, beside others.

``benchmarks/false_alarms.py`` has the tables, a mixed model, and the same figures with more tables and settings.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from bench.compare.interval import Values
from bench.compare.seed_variance import (
    COMMON,
    OWN,
    SCALES,
    SHARES,
    WEIGHTS,
    SeedVariance,
    equality,
    paired_by_seed,
    seed_variance,
)
from bench.compare.statistics import not_best, paired

_SPEC = importlib.util.spec_from_file_location(
    "false_alarms", Path(__file__).parents[1] / "benchmarks" / "false_alarms.py"
)
assert _SPEC is not None and _SPEC.loader is not None
simulation = importlib.util.module_from_spec(_SPEC)
sys.modules["false_alarms"] = simulation
_SPEC.loader.exec_module(simulation)
Setting = simulation.Setting

SETTINGS = [
    *(Setting(rows, seeds, "noisy") for rows in (2, 4, 8) for seeds in (2, 3, 5, 10)),
    *(Setting(18, seeds, "noisy") for seeds in (2, 3, 5)),
    *(Setting(rows, 3, "published") for rows in (2, 8, 18)),
    *(Setting(rows, 3) for rows in (2, 4, 8, 18)),
    *(Setting(4, seeds) for seeds in (2, 5)),
    Setting(18, 10),
    Setting(8, 3, "noisy", query=0.0),
    *(Setting(8, 3, spread, correlation=0.6) for spread in ("equal", "noisy")),
    Setting(2, 10, "noisy", correlation=0.6),
    Setting(4, 3, queries=50, tails="heavy"),
    Setting(8, 3, tails="heavy"),
    *(Setting(4, 3, queries=500, recall=recall) for recall in (1.0, 99.0)),
    Setting(4, 3, queries=50, recall=99.0),
]


def tables(setting) -> int:  # type: ignore[no-untyped-def]
    """More where false alarms are most frequent (docs/protocol.md), so that chance decides less."""
    return 800 if setting.query == 0 else 250


def wide(setting) -> bool:  # type: ignore[no-untyped-def]
    """Whether intervals may hold nearly always: seeds say hardly anything of variances, or half a query is wrong."""
    few = setting.seeds == 2 or (setting.rows, setting.seeds) == (2, 3)
    return few or (setting.recall == 99.0 and setting.queries == 50)


@pytest.mark.parametrize("setting", SETTINGS, ids=repr)
def test_chance_is_called_significant_in_one_table_in_twenty_at_most(setting) -> None:  # type: ignore[no-untyped-def]
    """In every family, within three standard errors of that many tables; and the intervals hold."""
    rng, n = np.random.default_rng(3), tables(setting)
    *families, contained = np.sum([simulation.alarms(setting, rng) for _ in range(n)], axis=0)
    assert max(families) <= n * 0.05 + 3 * (n * 0.05 * 0.95) ** 0.5, families
    assert n * 0.93 <= contained <= n * (1 if wide(setting) else 0.98)


def test_one_variance_for_all_rows_would_be_called_significant_far_more_often() -> None:
    """Why variances are moderated: beside a noisy row a mixed model of equal variances has three times the alarms."""
    rng, setting = np.random.default_rng(4), Setting(8, 3, "noisy")
    assert np.mean([simulation.mixed_model(setting, rng)[0] for _ in range(300)]) > 0.1


@pytest.mark.parametrize(("seeds", "share"), [(3, 0.65), (5, 0.8), (10, 0.9)])
def test_where_variances_are_equal_most_of_a_mixed_model_s_power_is_kept(seeds: int, share: float) -> None:
    rng, setting = np.random.default_rng(5), Setting(8, seeds)
    found = np.mean([simulation.alarms(setting, rng, lead=3.5)[1] for _ in range(200)])
    assert found >= share * np.mean([simulation.mixed_model(setting, rng, lead=3.5)[0] for _ in range(200)])


def test_pairing_by_seed_finds_more_where_seeds_correlate() -> None:
    rng, setting, found = np.random.default_rng(6), Setting(8, 3, correlation=0.6), np.zeros(2)
    for _ in range(150):
        runs = setting.table(rng, 3.0)
        for k, seeds in enumerate((None, [(1, 2, 3)] * 8)):
            found[k] += paired(runs, seeds, resamples=400)[6].against_first <= 0.05
    assert found[1] >= 1.3 * found[0]


def test_rows_are_paired_where_all_have_the_same_seeds_and_enough_freedom_is_left() -> None:
    assert paired_by_seed([(1, 2, 3)] * 5) and paired_by_seed([tuple(range(9))] * 2)
    assert not paired_by_seed([(1, 2, 3)] * 4)
    assert not paired_by_seed([*[(1, 2, 3)] * 8, (1, 2, 4)])
    rng = np.random.default_rng(0)
    means = [row + rng.normal(size=3) * 0.1 for row in rng.normal(size=(1, 3)).repeat(8, 0)]
    alone, by_seed = seed_variance(means), seed_variance(means, [(1, 2, 3)] * 8)
    table = np.stack(means)
    rest = table - table.mean(0) - table.mean(1, keepdims=True) + table.mean()
    assert by_seed.freedom.sum() == pytest.approx(7 * 2)
    assert (by_seed.variance * by_seed.freedom).sum() == pytest.approx(np.square(rest).sum())
    assert by_seed.variance.max() < alone.variance.min()


def test_equal_rows_come_near_one_variance_and_a_noisy_row_beside_them_keeps_its_own() -> None:
    rng = np.random.default_rng(1)
    means = list(rng.normal(size=(10, 4)))
    own = np.std(np.stack(means), axis=1, ddof=1)
    noisy = np.array([-20.0, 20.0, -20.0, 20.0])

    def deviation(of_rows: list[Values]) -> Values:
        drawn = seed_variance(of_rows).deviations(20_000, np.zeros(len(of_rows)), rng)
        middle: Values = np.quantile(np.abs(drawn), 0.5, axis=0) * 4**0.5 / stats.norm.ppf(0.75)
        return middle

    assert np.log(deviation(means)).std() < 0.6 * np.log(own).std()
    beside = deviation([*means, noisy])
    assert beside[10] > 0.6 * np.std(noisy, ddof=1) and max(beside[:10]) < 2


def test_variances_are_drawn_from_the_posterior_of_the_mixture() -> None:
    """Against the definition: tables are drawn from the prior, and weighted by how likely they make the estimates."""
    rng, freedom, estimates, n = np.random.default_rng(0), 2.0, np.array([1.0, 1.3, 12.0]), 400_000
    scales = estimates.mean() * SCALES
    common = rng.choice(scales, n)
    share = rng.choice(SHARES, n, p=WEIGHTS / WEIGHTS.sum())
    d0 = np.where(rng.random((n, 3)) < share[:, None], rng.choice(OWN, n, p=1 / OWN / (1 / OWN).sum())[:, None], COMMON)
    variance = d0 * common[:, None] / rng.chisquare(d0)
    weight = stats.gamma.pdf(estimates, freedom / 2, scale=2 * variance / freedom).prod(1)
    drawn = SeedVariance(estimates, np.full(3, freedom), np.full(3, 3.0))._drawn(100_000, np.random.default_rng(1))
    assert np.square(weight.sum()) / np.square(weight).sum() > 5000, "enough of the tables count"
    for row in range(3):
        for limit in (0.5, 1.0, 2.0, 5.0, 20.0):
            expected = np.average(variance[:, row] <= limit, weights=weight)
            assert np.mean(drawn[:, row] <= limit) == pytest.approx(expected, abs=0.02)


def test_no_mean_varies_less_than_its_noise_allows() -> None:
    rng = np.random.default_rng(1)
    drawn = seed_variance([np.zeros(2), np.zeros(2)]).deviations(20_000, np.array([2.0, 8.0]), rng)
    assert drawn.std(0) == pytest.approx([1.0, 2.0], rel=0.03)


@pytest.mark.parametrize("seeds", [2, 3, 8])
def test_evidence_against_equal_variances_is_uniform_where_they_are_equal_and_small_where_not(seeds: int) -> None:
    rng = np.random.default_rng(2)
    p = [equality(list(rng.normal(size=(6, seeds))))[2] for _ in range(200)]
    assert stats.kstest(p, "uniform").pvalue > 0.001
    noisy = rng.normal(size=(6, 8))
    noisy[4] *= 6
    largest, share, found = equality(list(noisy))
    variances = noisy.var(1, ddof=1)
    assert (largest, share) == (4, pytest.approx(variances[4] / variances.sum())) and found < 0.001
    assert equality([np.ones(3), np.ones(3)])[2] == 1.0


def table(levels: list[float], rng: np.random.Generator) -> list[Values]:
    return [level + rng.normal(0, 0.3, (5, 100)) + rng.normal(0, 0.05, (5, 1)) for level in levels]


def test_of_two_rows_all_families_have_the_same_p() -> None:
    (pair,) = paired(table([0.0, 0.1], np.random.default_rng(0)))
    assert pair.p == pair.adjusted == pair.against_first == pair.against_second
    assert sorted(not_best([pair], 2)) == [pair.p, 1.0]


def test_a_family_of_fewer_pairs_has_smaller_p_and_none_is_below_the_pair_s_own() -> None:
    pairs = paired(table([0.0, 0.05, 0.1, 0.12, 0.2, 0.22], np.random.default_rng(0)))
    for pair in pairs:
        assert pair.p <= min(pair.against_first, pair.against_second) + 1e-9
        assert max(pair.against_first, pair.against_second) <= pair.adjusted + 0.01
    order = sorted(pairs, key=lambda pair: abs(pair.difference) / (pair.high - pair.low))
    assert [pair.adjusted for pair in order] == sorted((pair.adjusted for pair in pairs), reverse=True)


def test_the_family_against_a_baseline_is_dunnett_s() -> None:
    """Of many seeds and independent rows, p is that of scipy's Dunnett test of the runs' means."""
    rng = np.random.default_rng(3)
    means = stats.zscore(rng.normal(size=(4, 60)), axis=1) + np.array([0.0, 0.1, 0.3, 0.4])[:, None]
    pairs = paired([np.repeat(row[:, None], 400, axis=1) for row in means], resamples=40_000)
    expected = stats.dunnett(*means[1:], control=means[0], rng=np.random.default_rng(0)).pvalue
    found = [pair.against_first for pair in pairs if pair.first == 0]
    assert found[2] == pytest.approx(expected[2], abs=0.02), "the largest difference has no step before it"
    assert all(ours <= theirs + 0.02 for ours, theirs in zip(found, expected, strict=True)), "steps down from it"


def test_a_row_is_not_the_best_where_some_row_is_better() -> None:
    pairs = paired(table([0.0, 1.0, 0.98, 0.0], np.random.default_rng(0)))
    p = not_best(pairs, 4)
    means = [1.0, 0.0, 0.0, 1.0]  # whether it is clearly lower
    assert [value <= 0.05 for value in p] == [bool(low) for low in means]
    assert p[1] == 1.0 or p[2] == 1.0, "the highest"
