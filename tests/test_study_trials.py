"""Who does which trial: every wanted one once, whatever dies and however many are at it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import Trial, TrialState

from bench.study.claims import Claims
from bench.study.result import edges, importances
from bench.study.runner import Arm
from bench.study.storage import open_storage
from bench.study.trials import StrategyTrials
from studies.base import Dimension, StudySpec, knob

FOUR = (Dimension("train.lr", choices=(1e-5, 3e-5, 1e-4, 3e-4)),)
RANGE = (Dimension("strategy.margin", 0.0, 1.0), Dimension("strategy.scale", 5.0, 100.0, log=True))


def sweep(storage: Any, directory: Path, dimensions: tuple[Dimension, ...] = FOUR, wanted: int = 4) -> StrategyTrials:
    study = optuna.create_study(storage=storage, study_name="s", direction="maximize", load_if_exists=True)
    on_grid = bool(dimensions and dimensions[0].choices)
    return StrategyTrials(
        study, storage, dimensions, wanted, on_grid, "tpe", Claims(directory / "claims"), lambda v: True
    )


@pytest.fixture
def database(tmp_path: Path) -> RDBStorage:
    found = open_storage(f"sqlite:///{tmp_path}/trials.db", tmp_path)
    assert isinstance(found, RDBStorage)
    return found


def done(sweep: StrategyTrials, trial: Trial | None, value: float | None = 1.0) -> None:
    assert trial is not None
    sweep.study.tell(trial, value, TrialState.COMPLETE if value is not None else TrialState.FAIL)


def test_a_grid_is_gone_through_once(tmp_path: Path) -> None:
    s = sweep(open_storage(None, tmp_path), tmp_path)
    met = []
    while (trial := s.claim()) is not None:
        met.append(s.values(trial)["train.lr"])
        done(s, trial)
    assert met == [1e-5, 3e-5, 1e-4, 3e-4]
    assert not s.running()


def test_a_dead_process_s_trial_is_taken_over_with_its_settings(tmp_path: Path) -> None:
    first = sweep(open_storage(None, tmp_path), tmp_path, RANGE, 2).claim()
    assert first is not None
    again = sweep(open_storage(None, tmp_path), tmp_path, RANGE, 2)
    second = again.claim()
    assert second is not None
    assert (second.number, second.params) == (first.number, first.params)


def test_a_trial_that_somebody_is_at_is_left_alone(tmp_path: Path) -> None:
    s = sweep(open_storage(None, tmp_path), tmp_path, RANGE, 2)
    first, second = s.claim(), s.claim()
    assert first is not None and second is not None
    assert first.number != second.number
    assert s.claim() is None and s.running()


def test_a_trial_that_was_given_back_is_another_s(tmp_path: Path) -> None:
    """Its process left it because somebody else is at the run."""
    mine, other = (sweep(open_storage(None, tmp_path), tmp_path, RANGE, 1) for _ in range(2))
    trial = mine.claim()
    assert trial is not None and other.claim() is None and other.running()
    mine.give_back(trial)
    again = other.claim()
    assert again is not None and again.number == trial.number
    assert not list((tmp_path / "claims").glob("0*"))


def test_settings_that_were_tried_are_not_proposed_again(tmp_path: Path) -> None:
    few = (Dimension("strategy.a", choices=(1, 2, 3)), Dimension("strategy.b", choices=(True, False)))
    s = sweep(open_storage(None, tmp_path), tmp_path, few, 6)
    s.on_grid = False
    met = set()
    for _ in range(6):
        trial = s.claim()
        assert trial is not None
        met.add(tuple(s.values(trial).values()))
        done(s, trial)
    assert len(met) == 6


def test_the_first_trials_are_those_given_unless_invalid(tmp_path: Path) -> None:
    s = sweep(open_storage(None, tmp_path), tmp_path, RANGE, 4)
    given = [{"strategy.margin": n / 10, "strategy.scale": 20.0} for n in range(3)]
    s.first, s.possible = given, lambda values: values["strategy.margin"] != 0.1
    met = []
    for _ in range(4):
        trial = s.claim()
        assert trial is not None
        met.append(s.values(trial))
        done(s, trial)
    assert [values in given for values in met] == [True, False, True, False]
    assert (met[0], met[2]) == (given[0], given[2])


def test_of_equal_first_trials_one_is_carried_out(tmp_path: Path) -> None:
    s = sweep(open_storage(None, tmp_path), tmp_path, RANGE, 3)
    s.first = [{"strategy.margin": 0.5, "strategy.scale": 20.0 + n * 1e-6} for n in range(3)]
    met = []
    for _ in range(3):
        trial = s.claim()
        assert trial is not None
        met.append(s.values(trial))
        done(s, trial)
    assert met[0] == {"strategy.margin": 0.5, "strategy.scale": 20.0}
    assert met[0] not in met[1:]


def test_settings_that_failed_are_not_proposed_again(tmp_path: Path) -> None:
    few = (Dimension("strategy.a", choices=(1, 2, 3)),)
    s = sweep(open_storage(None, tmp_path), tmp_path, few, 3)
    s.on_grid = False
    met = set()
    for _ in range(3):
        trial = s.claim()
        assert trial is not None
        met.add(s.values(trial)["strategy.a"])
        done(s, trial, None)
    assert met == {1, 2, 3}


def test_what_is_proposed_follows_from_place_and_results_alone(tmp_path: Path) -> None:
    met: list[list[dict[str, Any]]] = []
    for name, restart in (("one", False), ("two", True)):
        s = sweep(open_storage(None, tmp_path / name), tmp_path / name, RANGE, 8)
        settings = []
        for _ in range(8):
            if restart:
                s = sweep(open_storage(None, tmp_path / name), tmp_path / name, RANGE, 8)
            trial = s.claim()
            assert trial is not None
            settings.append(s.values(trial))
            done(s, trial, settings[-1]["strategy.margin"])
        met.append(settings)
    assert met[0] == met[1]
    assert len({tuple(point.values()) for point in met[0]}) == 8


def test_a_trial_that_is_tried_again_keeps_its_place_in_the_grid(database: RDBStorage, tmp_path: Path) -> None:
    """The second of two that run dies, and is begun again under a number that comes before other new ones."""
    s = sweep(database, tmp_path)
    first, second = s.claim(), s.claim()
    assert first is not None and second is not None
    frozen = s.study.get_trials()[second.number]
    s.study.tell(second, state=TrialState.FAIL)
    RetryHeartbeatStaleTrialCallback()(s.study, frozen)
    done(s, first)
    met = {}
    while (trial := s.claim()) is not None:
        met[trial.number] = s.values(trial)["train.lr"]
        done(s, trial)
    assert met == {2: 3e-5, 3: 1e-4, 4: 3e-4}
    assert sorted(s.values(t)["train.lr"] for t in s.counted()) == [1e-5, 3e-5, 1e-4, 3e-4]


def test_one_too_many_is_none(database: RDBStorage, tmp_path: Path) -> None:
    """Two workers see that one is missing, and both begin it."""
    s = sweep(database, tmp_path, wanted=1)
    counted = s.counted
    s.counted = lambda: []  # type: ignore[method-assign]  # what the slower one saw
    first, second = s.claim(), s.claim()
    s.counted = counted  # type: ignore[method-assign]
    assert first is not None and second is None
    assert [t.number for t in s.counted()] == [0]


def test_a_study_that_varies_nothing_has_one_trial_even_if_it_fails(tmp_path: Path) -> None:
    s = sweep(open_storage(None, tmp_path), tmp_path, (), 1)
    s.on_grid = True
    done(s, s.claim(), None)
    assert s.claim() is None
    assert len(s.counted()) == 1


@pytest.mark.parametrize(
    ("tried", "best", "edge"),
    [
        ([1e-4, 3e-4, 1e-3], 1e-3, {"train.lr": "highest"}),
        ([1e-4, 3e-4, 1e-3], 1e-4, {"train.lr": "lowest"}),
        ([1e-4, 3e-4, 1e-3], 3e-4, {}),
        ([3e-4, 3e-4], 3e-4, {"train.lr": "only"}),
    ],
)
def test_a_best_rate_at_the_edge_of_what_was_tried_is_noted(
    tried: list[float], best: float, edge: dict[str, str]
) -> None:
    spec = StudySpec("?", (Dimension("train.lr", 1e-5, 1e-2, log=True), knob("scale")), ("mnr",))
    values: list[dict[str, Any]] = [{"train.lr": rate, "strategy.scale": 20.0} for rate in tried]
    arm = Arm("mnr", [], values, (1.0, {"train.lr": best, "strategy.scale": 20.0}), {}, "", "", {})
    assert edges(arm, spec) == edge


@pytest.mark.parametrize("values", [[1.0] * 12, [float(n) for n in range(12)]])
def test_importances_that_say_nothing_are_left_out_without_a_warning(values: list[float]) -> None:
    kinds = {"a": FloatDistribution(0.0, 1.0), "b": FloatDistribution(0.0, 1.0)}
    trials = [
        optuna.trial.create_trial(params={"a": n / 12, "b": n * 5 % 12 / 12}, distributions=kinds, value=value)
        for n, value in enumerate(values)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = importances(Arm("mnr", trials, [], None, {}, "", "", {}))
    assert not found or sum(found.values()) == pytest.approx(1.0)
    assert bool(found) == (len(set(values)) == 12)
