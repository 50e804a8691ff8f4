"""What a strategy declares acts in training, or its run is invalid: for every registered strategy, found by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny_studies
from tiny import bench, write_data
from tiny_runs import only_run, record_of, runs_in, words
from toys import Training

from bench.config.overrides import resolve
from bench.errors import Impossible, UserError
from bench.run.acting import check_mechanism, step_limits
from bench.train.diagnostics import invalid
from strategies import Chain, find, registered
from strategies.negatives import InBatch
from studies.base import EVERY_KNOB, StudySpec

STRATEGIES = sorted(name for name, kind in registered().items() if not issubclass(kind, Chain))
STEPS = 4
SHORT: dict[str, dict[str, Any]] = {
    "queue": {"warmup": 2},
    "ance": {"refresh": 2, "last": 10},
    "conan": {"refresh": 1, "factor": 0.5, "limit": 1.0},
}
ALONE = {"batch_size": 1}  # a query that is alone in its batch has no negative there

Case = tuple[dict[str, Any], dict[str, Any], str]
"""Knobs, settings of training, and what is said of the run that has them."""

NEVER: dict[str, Case] = {
    "ance": ({"refresh": STEPS, "last": 10}, {}, "no negative was replaced"),
    "bm25_hard": ({"absolute_margin": 1e6}, {}, "no negative was found"),
    "conan": ({"refresh": STEPS}, {}, "no negative was replaced"),
    "cosent": ({}, ALONE, "every loss was zero"),
    "debiased": ({"prior": 0.0}, {}, "for no query was the corrected term above"),
    "focal": ({"exponent": 0.0}, {}, "for no query was a weight below 1"),
    "guided": ({"margin": 3.0}, {}, "every loss was zero"),
    "hard_weighted": ({"concentration": 0.0}, {}, "for no query were the weights"),
    "hardness_logit": ({"own": 0.0}, {}, "for no query was a negative's cosine added"),
    "hardest_neg": ({"margin": -3.0}, {}, "every loss was zero"),
    "mined_hard": ({"absolute_margin": 3.0}, {}, "no negative was found"),
    "nv_percpos": ({"absolute_margin": 3.0}, {}, "no negative was found"),
    "queue": ({"warmup": STEPS}, {}, "the queue was never used"),
    "random_pairwise": ({"margin": -3.0}, {}, "every loss was zero"),
    "semi_hard": ({"margin": 0.0}, {}, "for no query was a negative farther"),
    "simbert": ({"contrast": 0.0}, {}, "no negative had a gradient"),
    "triplet": ({"margin": -3.0}, {}, "every loss was zero"),
}
"""Settings in which a strategy cannot act."""


def case(name: str) -> Case | None:
    """Settings in which a strategy cannot act, or None where there are none."""
    only_batch = registered()[name]().negatives == InBatch()
    return NEVER.get(name) or (({}, ALONE, "no query had a negative") if only_batch else None)


def why(name: str, knobs: dict[str, Any], directory: Path, **training: Any) -> str | None:
    """Why a run of :data:`STEPS` steps is invalid."""
    strategy = registered()[name](**knobs)
    done = Training(strategy, directory=directory, max_steps=STEPS, **training).fit()
    return invalid(strategy, done.means, done.step)


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_mechanism_acts(name: str, tmp_path: Path) -> None:
    assert why(name, SHORT.get(name, {}), tmp_path) is None


@pytest.mark.parametrize(("name", "never"), [(name, never) for name in STRATEGIES if (never := case(name))])
def test_a_run_in_which_it_cannot_act_is_invalid(name: str, never: Case, tmp_path: Path) -> None:
    knobs, training, said = never
    found = why(name, knobs, tmp_path, **training)
    assert found is not None and found.startswith(said)


@pytest.mark.parametrize("name", STRATEGIES)
def test_an_addition_leaves_what_is_said_of_the_strategy(name: str) -> None:
    alone, extended = registered()[name](), find(f"{name}:spread_out")()
    assert extended.mechanism == alone.mechanism
    for seen in ({"acted": 0.0}, {"drawn_again": 0.0}, {}):
        told = invalid(alone, seen, 1)
        assert invalid(extended, seen, 1) == (told and told.replace("after strategy.", f"after strategy.{name}."))
    base = [f"strategy={name}:spread_out", "train.max_steps=4", "train.epochs=9"]
    limits = step_limits(resolve(base))
    assert {key.rpartition(".")[2] for key in limits} == {k.name for k in alone.knobs() if k.counts_steps}


def test_a_prior_of_a_tenth_belongs_to_a_scale_of_two(tmp_path: Path) -> None:
    """At a scale of 20 a trained positive makes the correction larger than the mean of the negatives."""

    def share(scale: float) -> float:
        strategy = registered()["debiased"](scale=scale)
        training = Training(strategy, directory=tmp_path / f"{scale}", epochs=8, lr=3e-3, dropout=0.0)
        training.fit()
        return float(training.events[-1]["acted"])

    assert share(20.0) < 0.1 < 0.9 < share(2.0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("strategy=clustered strategy.clusters=1", "strategy.clusters=1 must be at least 2"),
        ("strategy=guided strategy.clusters=1", "strategy.clusters=1 must be at least 2"),
        ("strategy=nv_percpos strategy.relative_margin=null", "leave nv_percpos no threshold"),
        ("strategy=mnr:spread_out strategy.mean_weight=0 strategy.moment_weight=0", "leave nothing of spread_out"),
    ],
)
def test_settings_that_make_it_another_strategy_are_refused(given: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        resolve(given.split())


# Before training


@pytest.mark.parametrize(
    ("given", "limit"),
    [
        (["strategy=queue", "budget.steps=50"], {"strategy.warmup": 49}),
        (["strategy=queue", "budget.examples=640", "train.batch_size=32"], {"strategy.warmup": 19}),
        (["strategy=ance", "train.max_steps=20"], {"strategy.refresh": 19}),
        (["stages=mnr,queue", "budget.steps=81"], {"strategy.queue.warmup": 40}),
        (["stages=mnr,queue", "train.stage_steps=[200,30]"], {"strategy.queue.warmup": 29}),
        (["strategy=queue", "budget.seconds=60"], {}),
        (["strategy=queue", "train.max_steps=0"], {}),
        (["strategy=mnr", "budget.steps=50"], {}),
    ],
)
def test_a_run_needs_more_steps_than_its_strategy_waits(given: list[str], limit: dict[str, int]) -> None:
    config = resolve(given)
    assert step_limits(config) == limit
    for key, most in limit.items():
        check_mechanism(resolve([*given, f"{key}={most}"]))
        with pytest.raises(Impossible, match=f"{key}={most + 1}, but training has {most + 1} steps.*set {key} below"):
            check_mechanism(resolve([*given, f"{key}={most + 1}"]))
    if not limit:
        check_mechanism(config)


@pytest.mark.parametrize(
    ("given", "limit"),
    [
        (["strategy=queue", "budget.texts=6400"], {"strategy.warmup": 99}),
        (["strategy=ance", "budget.texts=9600"], {"strategy.refresh": 99}),
        (["strategy=conan", "budget.texts=28800"], {"strategy.refresh": 99}),
        (["stages=mnr,queue", "budget.texts=5120"], {"strategy.queue.warmup": 39}),
        (["strategy=queue", "budget.texts=10"], {"strategy.warmup": 0}),
    ],
)
def test_a_budget_of_texts_bounds_a_search_and_refuses_no_run(given: list[str], limit: dict[str, int]) -> None:
    """In batches of 32: 64 texts a step without negatives, 96 with one a query, 288 with seven."""
    config = resolve([*given, "train.batch_size=32"])
    assert step_limits(config) == limit
    check_mechanism(config)


def test_ranges_of_a_search_end_below_the_steps_of_its_runs() -> None:
    spec = StudySpec("?", (EVERY_KNOB,), ("queue", "ance"))
    for name, key, ranges in [
        ("queue", "warmup", {None: (0, 500), 100: (0, 99), 1: (0, 0)}),
        ("ance", "refresh", {None: (10, 400), 100: (10, 99), 4: (3, 3)}),
    ]:
        for steps, expected in ranges.items():
            limits = {} if steps is None else step_limits(resolve([f"strategy={name}", f"budget.steps={steps}"]))
            (found,) = (d for d in spec.dimensions(registered()[name], (), limits) if d.key == f"strategy.{key}")
            assert (found.low, found.high) == expected


# From the command line


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path / "tiny")


def run(data: Path, runs: Path, **changes: str) -> int:
    return bench(*words(data, runs, **changes))


def test_a_run_that_cannot_act_is_refused_before_anything_is_encoded(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(data, tmp_path / "runs", strategy="queue", strategy__warmup="4") == 2
    assert "strategy.warmup=4, but training has 4 steps" in capsys.readouterr().err
    # 24 pairs in batches of 8 are 3 steps: only the data says so.
    assert run(data, tmp_path / "runs", strategy="queue", strategy__warmup="3", train__epochs="1") == 2
    assert "strategy.warmup=3, but training has 3 steps" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_an_invalid_run_is_told_recorded_and_no_row_of_a_table(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    assert run(data, runs, strategy="mnr") == 0
    assert run(data, runs, strategy="debiased", strategy__prior="0") == 0
    said = "for no query was the corrected term above its smallest value"
    told = capsys.readouterr()
    assert "debiased (invalid)" in told.out and said in told.err
    (path,) = (path for name, path in runs_in(runs).items() if name.startswith("debiased"))
    record = record_of(path)
    assert record.status == "finished" and record.invalid is not None and record.invalid.startswith(said)
    assert bench("compare", "--runs-dir", str(runs)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("debiased" in line and "is invalid and no row (seed 0)" in line and said in line for line in lines)
    assert not any(line.startswith("| debiased") for line in lines)
    assert bench("report", "--runs-dir", str(runs)) == 0
    assert f"`{record.run_id}` is invalid: {said}" in capsys.readouterr().out
    assert bench("list", "runs", "--runs-dir", str(runs)) == 0
    assert "invalid" in capsys.readouterr().out


def test_a_stage_that_never_acted_makes_the_run_invalid(data: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    assert run(data, runs, stages="mnr,debiased", strategy__debiased__prior="0") == 0
    found = record_of(only_run(runs)).invalid
    assert found is not None and found.startswith("stage debiased: for no query")
    assert bench("compare", "--runs-dir", str(runs)) == 2, "there is nothing else to compare"


@pytest.mark.parametrize(
    ("given", "alone"),
    [
        (["strategy=in_batch", "train.batch_size=1"], "batch"),
        (["strategy=mnr", "train.batch_size=4", "train.groups=4"], "group"),
        (["stages=mined_hard,in_batch", "train.batch_size=1"], "batch"),
        (["strategy=in_batch", "train.batch_size=2"], None),
        (["strategy=mined_hard", "train.batch_size=1"], None),
        (["strategy=queue", "train.batch_size=1", "strategy.warmup=2", "train.max_steps=9"], None),
    ],
)
def test_a_query_that_is_alone_in_every_batch_is_refused_before_training(given: list[str], alone: str | None) -> None:
    config = resolve(given)
    if alone is None:
        check_mechanism(config)
        return
    with pytest.raises(Impossible, match=f"alone in its {alone}, so it has no negative; raise train.batch_size"):
        check_mechanism(config)
    check_mechanism(config, varied=["train.batch_size"])


def test_a_point_of_a_grid_that_cannot_act_fails_with_the_reason(data: Path, tmp_path: Path) -> None:
    given = tiny_studies.words(data, tmp_path / "runs", "strategy.last=20")
    given = [word for word in given if not word.startswith("budget.")]
    assert bench("study", "refresh", "budget.steps=12", *given) == 0
    (arm,) = tiny_studies.result(tmp_path / "runs")["arms"]
    assert (arm["trials"], arm["complete"], arm["failed"]) == (3, 1, 2)
    (page,) = (tmp_path / "runs").glob("studies/*/study.md")
    for refresh in (25, 50):
        assert f"failed: 1 of 3: strategy.refresh={refresh}, but training has 12 steps" in page.read_text()


def test_a_trial_that_never_acted_fails_with_the_reason(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = tiny_studies.words(data, tmp_path / "runs", "strategy=debiased", "strategy.prior=0")
    assert bench("study", "tune", "trials=2", *given) == 2
    assert "no trial finished: debiased: for no query was the corrected term" in capsys.readouterr().err
