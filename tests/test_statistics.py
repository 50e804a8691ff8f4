"""Intervals and paired tests: known cases from scipy, and what must not matter. Simulations: test_false_alarms.py."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats

from bench.compare.comparison import letters_of
from bench.compare.interval import Values, interval
from bench.compare.statistics import paired


def simulated(
    rng: np.random.Generator,
    strategies: int = 4,
    seeds: int = 3,
    queries: int = 150,
    query: float = 0.0,
    seed: float = 0.0,
    noise: float = 1.0,
    lead: float = 0.0,
) -> list[Values]:
    """Runs whose strategies differ in the first's ``lead`` alone.

    ``query`` is the deviation of what a strategy makes of a query, ``seed`` of what a seed does to a run,
    ``noise`` of a single value; a query's own difficulty is common to all.
    """
    difficulty = rng.normal(0, 3, queries)
    return [
        difficulty
        + rng.normal(0, query, queries)
        + rng.normal(0, seed, (seeds, 1))
        + rng.normal(0, noise, (seeds, queries))
        + (lead if number == 0 else 0)
        for number in range(strategies)
    ]


def test_without_queries_the_interval_is_student_s() -> None:
    values = [61.2, 63.9, 60.4, 62.2]
    found = interval(values)
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert (found.n, found.mean, found.sd) == (4, pytest.approx(np.mean(values)), pytest.approx(np.std(values, ddof=1)))


def test_one_seed_has_no_interval() -> None:
    found = interval([61.2], 1000)
    assert (found.n, found.mean, found.sd, found.low, found.high) == (1, 61.2, None, None, None)


def covered(rng: np.random.Generator, seeds: int, queries: int, seed: float) -> tuple[bool, bool]:
    """Whether the interval of one simulated row contains its true recall, and whether its seeds are equal.

    A query is answered where its ease, the run's quality and noise add up to more than zero.
    """
    ease, quality, noise = rng.normal(0, 1, queries), rng.normal(0, seed, (seeds, 1)), 0.4
    hits = 100.0 * (0.4 + ease + quality + rng.normal(0, noise, (seeds, queries)) > 0)
    truth = 100 * stats.norm.cdf(0.4 / np.sqrt(1 + seed**2 + noise**2))
    values = hits.mean(1).tolist()
    found = interval(values, per_query=hits.mean(0))
    bound = interval(values, queries=queries)
    assert found.low is not None and found.high is not None and bound.low is not None and bound.high is not None
    assert bound.low <= found.low + 1e-9 and bound.high >= found.high - 1e-9, "the bound is never narrower"
    return bool(found.low <= truth <= found.high), len(set(values)) == 1


@pytest.mark.parametrize("seed", [0.0, 0.03, 0.1, 0.3])
@pytest.mark.parametrize(("seeds", "queries"), [(2, 100), (2, 1000), (3, 300), (5, 300)])
def test_the_interval_contains_the_true_value(seeds: int, queries: int, seed: float) -> None:
    """Seeds may matter not at all, less than queries, or more."""
    rng = np.random.default_rng(5)
    assert np.mean([covered(rng, seeds, queries, seed)[0] for _ in range(600)]) >= 0.93


def test_an_interval_over_seeds_alone_would_not() -> None:
    """Why the queries are in it: five seeds of the same queries agree on a value that other queries do not have."""
    rng, contained = np.random.default_rng(7), 0
    for _ in range(300):
        hits = 100.0 * (0.4 + rng.normal(0, 1, 300) + rng.normal(0, 0.4, (5, 300)) > 0)
        found = interval(hits.mean(1).tolist())
        assert found.low is not None and found.high is not None
        contained += found.low <= 100 * stats.norm.cdf(0.4 / np.sqrt(1 + 0.4**2)) <= found.high
    assert contained < 0.7 * 300


def test_equal_seeds_have_an_interval_that_contains_the_true_value() -> None:
    rng = np.random.default_rng(6)
    found = [contained for contained, equal in (covered(rng, 2, 60, 0.0) for _ in range(4000)) if equal]
    assert len(found) > 300
    assert np.mean(found) >= 0.93


@pytest.mark.parametrize("value", [0.0, 50.0, 100.0])
@pytest.mark.parametrize("queries", [2, 20, 1500])
def test_no_interval_of_known_queries_is_a_point(value: float, queries: int) -> None:
    for found in (interval([value] * 2, queries), interval([value] * 3, per_query=np.full(queries, value))):
        assert found.low is not None and found.high is not None
        assert 0 <= found.low <= value <= found.high <= 100
        assert found.high - found.low > 100 / (2 * queries), "half a query at least"
    assert interval([value] * 2).low is None, "nothing is known of the queries"


def test_without_seed_noise_it_is_scipy_s_permutation_test() -> None:
    rng = np.random.default_rng(0)
    queries = rng.normal(0.3, 1, 40)
    runs = [np.stack([queries, queries]), np.zeros((2, 40))]
    (pair,) = paired(runs, resamples=20_000)
    expected = stats.permutation_test(
        (queries,), np.mean, permutation_type="samples", n_resamples=20_000, rng=np.random.default_rng(1)
    )
    assert pair.p == pytest.approx(expected.pvalue, abs=0.01)
    assert pair.difference == pytest.approx(queries.mean())
    assert pair.effect == pytest.approx(queries.mean() / queries.std(ddof=1))
    assert (pair.wins, pair.losses) == ((queries > 0).mean(), (queries < 0).mean())


@pytest.mark.parametrize("deviations", [(1.0, 1.0), (1.0, 5.0)])
def test_without_query_noise_it_is_the_t_test_of_many_seeds(deviations: tuple[float, float]) -> None:
    """Welch's where variances differ, and the paired one where both rows have the same seeds."""
    rng = np.random.default_rng(4)
    for _ in range(4):
        common = rng.normal(size=12)
        first, second = (common + of_row * rng.normal(size=12) for of_row in deviations)
        # Signs flip the one difference that all queries have, so they add its own size over the root of 2,000 at most.
        runs = [np.repeat(seeds[:, None], 2000, axis=1) for seeds in (first, second + deviations[1] * 0.7)]
        means = [values.mean(1) for values in runs]
        (apart,), (by_seed,) = paired(runs), paired(runs, [range(12)] * 2)
        assert apart.p == pytest.approx(stats.ttest_ind(*means, equal_var=False).pvalue, abs=0.04)
        assert by_seed.p == pytest.approx(stats.ttest_rel(*means).pvalue, abs=0.04)


def test_order_and_unit_of_the_runs_do_not_matter() -> None:
    runs = simulated(np.random.default_rng(3), strategies=3, query=0.3, seed=0.1, lead=0.4)
    plain = {(p.first, p.second): p for p in paired(runs)}
    turned = {(2 - p.second, 2 - p.first): p for p in paired(runs[::-1])}
    scaled = {(p.first, p.second): p for p in paired([100 * values for values in runs])}
    for key, pair in plain.items():
        assert turned[key].difference == pytest.approx(-pair.difference) or turned[key].difference == pair.difference
        assert turned[key].p == pytest.approx(pair.p, abs=0.02)
        assert scaled[key].p == pytest.approx(pair.p, abs=0.01)
        assert scaled[key].difference == pytest.approx(100 * pair.difference)


def test_numbers_of_seeds_may_differ_but_one_is_too_few() -> None:
    rng = np.random.default_rng(0)
    assert len(paired([rng.normal(size=(2, 30)), rng.normal(size=(5, 30)), rng.normal(size=(3, 30))])) == 3
    with pytest.raises(ValueError, match="one seed"):
        paired([rng.normal(size=(1, 30)), rng.normal(size=(3, 30))])


def test_a_test_of_queries_alone_would_say_so_far_more_often() -> None:
    """Why the seeds are in it: with seeds that matter, these very models do differ."""
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(200):
        first, second = simulated(rng, strategies=2, seed=0.3)
        wrong += stats.ttest_rel(first.mean(0), second.mean(0)).pvalue <= 0.05
    assert wrong > 60


def test_a_true_difference_is_found() -> None:
    rng = np.random.default_rng(2)
    found = 0
    for _ in range(50):
        pairs = paired(simulated(rng, query=0.3, seed=0.05, lead=0.6), resamples=400)
        found += all(pair.adjusted <= 0.05 for pair in pairs if pair.first == 0)
    assert found >= 45


@pytest.mark.parametrize("queries", [13, 701, 999, 1000])
def test_a_difference_on_one_query_is_chance_whatever_its_sum_rounds_to(queries: int) -> None:
    values = np.zeros((2, queries))
    better = values.copy()
    better[:, 0] = 100.0
    (pair,) = paired([better, values], resamples=200)
    assert pair.p == 1.0, "its sign alone can be flipped"


def test_differences_of_many_rows_can_be_significant() -> None:
    """The more pairs, the smaller must the smallest p be that can be shown."""
    values = np.repeat(np.arange(40.0)[:, None, None], 2, axis=1) + np.random.default_rng(0).normal(
        0, 0.01, (40, 2, 60)
    )
    pairs = paired(list(values), resamples=500)
    assert len(pairs) == 780 and all(pair.adjusted <= 0.05 for pair in pairs)
    assert all(pair.p >= pair.least for pair in pairs)


def test_letters_are_of_one_character_so_that_sharing_one_is_plain() -> None:
    rows = range(52)
    letters = letters_of(rows, {(a, b) for a, b in product(rows, rows) if a < b})
    assert len(set(letters.values())) == 52 and all(len(letter) == 1 for letter in letters.values())


def test_rows_share_a_letter_exactly_when_they_are_not_significantly_different() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        rows = list(range(6))
        told = {(a, b) for a, b in product(rows, rows) if a < b and rng.random() < 0.5}
        letters = letters_of(rows, told)
        for a, b in product(rows, rows):
            if a < b:
                assert bool(set(letters[a]) & set(letters[b])) == ((a, b) not in told)
        assert all(letters[row] for row in rows)
    assert letters_of([], set()) == {}
