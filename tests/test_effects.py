"""The effect of each setting of a grid: the mean over pairs of runs that differ in it alone, and its interval."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from records import run

from bench.compare.comparison import PerQuery
from bench.compare.effects import effects
from bench.compare.interval import Values
from bench.errors import UserError
from bench.record.record import Record

CHOICES: dict[str, tuple[Any, ...]] = {
    "strategy.n": (1, 4),
    "strategy.first": (0, 30),
    "strategy.margin": (None, 0.05),
    "strategy.scale": (20.0, 50.0),
}
POINTS = {"strategy.n": 6.0, "strategy.first": -25.0, "strategy.margin": 0.0, "strategy.scale": 2.0}


def grid(rng: np.random.Generator, queries: int = 400, noise: float = 1.5) -> tuple[list[Record], PerQuery]:
    """A full grid of two seeds: every setting adds its points, every run and every query a deviation of its own."""
    difficulty, values, records = rng.normal(0, 20, queries), dict[str, Values](), list[Record]()
    reaction = {key: rng.normal(0, 15, queries) for key in CHOICES}  # of each query to each setting
    for places in product((0, 1), repeat=len(CHOICES)):
        chosen = {key: choices[place] for place, (key, choices) in zip(places, CHOICES.items(), strict=True)}
        for seed in (1, 2):
            of_run = 40 + difficulty + rng.normal(0, noise) + rng.normal(0, 10, queries)
            for place, (key, points) in zip(places, POINTS.items(), strict=True):
                of_run = of_run + place * (points + reaction[key])
            knobs = {key.partition(".")[2]: value for key, value in chosen.items()}
            name, metrics = f"run-{len(records)}", {"recall@1": float(of_run.mean())}
            records.append(run("mined_hard", seed, knobs=knobs, metrics=metrics, run_id=name))
            values[name] = of_run
    return records, lambda record, metric: (np.arange(queries, dtype=np.float64), values[record.run_id])


def test_an_effect_is_the_mean_over_runs_that_are_equal_in_all_else() -> None:
    records, per_query = grid(np.random.default_rng(0))
    found = effects(records, CHOICES, per_query, "recall@1")
    assert [(e.key, e.instead_of, e.value) for e in found] == [(key, *choices) for key, choices in CHOICES.items()]
    for effect in found:
        differences = []
        for one, other in product(records, records):
            theirs = {k: one.setting[k] for k in CHOICES} | {"seed": one.seed}
            own = {k: other.setting[k] for k in CHOICES} | {"seed": other.seed}
            if theirs == own | {effect.key: effect.value} and own[effect.key] == effect.instead_of:
                differences.append(float(one.metrics["recall@1"] or 0) - float(other.metrics["recall@1"] or 0))
        assert effect.over.n == len(differences) == 16
        assert effect.over.mean == pytest.approx(np.mean(differences))


def test_a_large_effect_of_another_setting_does_not_widen_the_interval() -> None:
    records, per_query = grid(np.random.default_rng(1))
    over = {effect.key: effect.over for effect in effects(records, CHOICES, per_query, "recall@1")}
    assert over["strategy.first"].high is not None and over["strategy.first"].high < -20
    assert over["strategy.n"].low is not None and over["strategy.n"].low > 2
    n = over["strategy.n"]
    assert n.low is not None and n.high is not None and n.high - n.low < 6, "25 points of strategy.first are no noise"


def test_intervals_cover_the_true_effect_as_often_as_they_say() -> None:
    rng, inside = np.random.default_rng(2), []
    for _ in range(150):
        records, per_query = grid(rng, queries=60)
        for effect in effects(records, CHOICES, per_query, "recall@1"):
            assert effect.over.low is not None and effect.over.high is not None
            inside.append(effect.over.low <= POINTS[effect.key] <= effect.over.high)
    assert 0.93 <= np.mean(inside) <= 0.99


def test_a_choice_that_never_ran_has_no_effect_and_the_next_one_is_the_base() -> None:
    records, per_query = grid(np.random.default_rng(3))
    left = [record for record in records if record.setting["strategy.n"] == 4]
    found = effects(left, {**CHOICES, "strategy.scale": (10.0, 20.0, 50.0)}, per_query, "recall@1")
    assert [e.key for e in found] == ["strategy.first", "strategy.margin", "strategy.scale"]
    assert (found[-1].instead_of, found[-1].value, found[-1].over.n) == (20.0, 50.0, 8)


def test_without_values_of_queries_the_interval_is_over_runs_alone() -> None:
    records, per_query = grid(np.random.default_rng(4))

    def missing(record: Record, metric: str) -> tuple[Values, Values]:
        raise UserError("is missing")

    with_queries, without = (effects(records, CHOICES, of, "recall@1")[0].over for of in (per_query, missing))
    assert with_queries.mean == without.mean
    assert with_queries.low is not None and without.low is not None and with_queries.low < without.low
