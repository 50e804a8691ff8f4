"""What a study asks: what can be declared, and what is refused before anything is trained."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.samplers import RandomSampler
from tiny import bench
from tiny_studies import words

import strategies
from bench.config.overrides import resolve
from bench.errors import UserError
from bench.record.serialize import as_override
from bench.study.setup import _identity
from bench.study.spec import grid
from bench.study.starts import first_trials
from bench.study.trials import distribution
from strategies import find
from studies import registered
from studies.base import EVERY_KNOB, Dimension, StudySpec, knob


@pytest.mark.parametrize("name", sorted(registered()))
def test_every_study_asks_of_what_its_strategies_have(name: str) -> None:
    spec = registered()[name]
    assert spec.asks.endswith("?")
    for strategy in spec.strategies:
        dimensions = spec.dimensions(find(strategy.split()[0]))
        assert len({d.key for d in dimensions}) == len(dimensions)
        if spec.protocol == "grid":
            assert all(d.choices for d in dimensions)
            assert len(grid(dimensions)) >= 1
        else:
            assert dimensions
            assert "eval.split=dev" in spec.judged


@pytest.mark.parametrize("name", sorted(strategies.registered()))
def test_every_knob_of_every_strategy_can_be_tuned(name: str) -> None:
    dimensions = StudySpec("?", (EVERY_KNOB,), (name,)).dimensions(strategies.registered()[name])
    assert dimensions
    for d in dimensions:
        assert d.choices or (d.low is not None and d.high is not None and d.low < d.high)


def refusal(words: list[str]) -> str:
    try:
        resolve(words)
    except UserError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", sorted(strategies.registered()))
def test_a_search_can_choose_every_default_and_nothing_of_another_type(name: str) -> None:
    """A margin that is off, a number of clusters: what a search cannot propose, it cannot find."""
    strategy = strategies.registered()[name]
    dimensions = StudySpec("?", (EVERY_KNOB,), (name,)).dimensions(strategy)
    defaults = {f"strategy.{k.name}": k.default for k in strategy.knobs()}
    first = first_trials(dimensions, defaults)
    assert len(first) == 1
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    for n in range(25):
        kinds = {d.key: distribution(d) for d in dimensions}
        params = study.ask(kinds).params if n else first[0]
        for d in dimensions:
            assert kinds[d.key].to_external_repr(kinds[d.key].to_internal_repr(params[d.key])) == params[d.key]
            used = d.shown(d.choices[params[d.key]] if d.choices else params[d.key])
            assert n or used == defaults[d.key]
            assert " is not a" not in refusal([f"strategy={name}", f"{d.key}={as_override(used)}"])
            assert d.choices or used is None or d.low <= used <= d.high


def test_a_quarter_of_the_draws_leave_an_optional_knob_out() -> None:
    for d in (
        Dimension("strategy.a", 0.0, 0.3, optional=True),
        Dimension("strategy.b", 2, 100, log=True, optional=True),
        Dimension("strategy.c", 0, 29, whole=True, optional=True),
    ):
        study = optuna.create_study(sampler=RandomSampler(seed=0))
        drawn = [d.shown(study.ask({d.key: distribution(d)}).params[d.key]) for _ in range(400)]
        assert sum(value is None for value in drawn) == pytest.approx(100, abs=30)


def test_a_search_begins_with_the_defaults_beside_several_rates() -> None:
    rate, scale = Dimension("train.lr", 1e-5, 1e-2, log=True), Dimension("strategy.scale", 5.0, 100.0, log=True)
    margin = Dimension("strategy.margin", 0.0, 0.3, optional=True)
    settings = {"train.lr": 5e-5, "strategy.scale": 500.0, "strategy.margin": None}
    first = [
        {d.key: d.shown(found[d.key]) for d in (rate, scale, margin)}
        for found in first_trials([rate, scale, margin], settings)
    ]
    assert [found.pop("train.lr") for found in first] == [5e-5, 3.162e-5, 3.162e-4, 3.162e-3]
    assert all(found == {"strategy.scale": 100.0, "strategy.margin": None} for found in first), "within the range"
    assert [found["train.lr"] for found in first_trials([rate], settings)] == [5e-5], "no knob beside it"
    assert len(first_trials([scale, margin], settings)) == 1, "nothing beside the knobs"
    assert first_trials([replace(margin, optional=False)], settings) == []
    assert first_trials([Dimension("strategy.scale", choices=(1.0, 2.0))], settings) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"low": 1.0}, "needs both low= and high="),
        ({"low": 1.0, "high": 2.0, "choices": (1.0, 2.0)}, "needs both low= and high=, or choices="),
        ({"low": 2.0, "high": 1.0}, "low=2.0 must not be above high=1.0"),
        ({"low": 0.0, "high": 1.0, "log": True, "optional": True}, "low=0.0 must be above 0 for log=True"),
        ({"choices": (1, 2), "optional": True}, "among choices, None is one of them"),
        ({"optional": True}, "optional=True is for a range"),
        ({"low": 1, "high": 50, "log": True, "whole": True, "optional": True}, "nothing lies below low=1"),
        ({"low": 1.0, "high": 1.0, "optional": True}, "nothing lies below low=1.0"),
    ],
)
def test_a_range_that_cannot_be_drawn_from_is_refused_where_it_is_declared(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Dimension("strategy.x", **given)


def test_a_range_of_a_whole_knob_is_whole() -> None:
    spec = StudySpec("?", (Dimension("strategy.n", 1, 7), Dimension("strategy.scale", 5.0, 50.0)), ("mined_hard",))
    assert [d.whole for d in spec.dimensions(strategies.registered()["mined_hard"])] == [True, False]


def test_the_name_of_a_study_is_that_of_before_optional_knobs() -> None:
    assert _identity(Dimension("a", 0.0, 1.0)).keys() == {"key", "low", "high", "log", "whole", "choices"}
    assert _identity(Dimension("a", 0.0, 1.0, optional=True))["optional"] is True


def test_a_knob_that_is_given_is_not_tuned() -> None:
    spec = StudySpec("?", (EVERY_KNOB,), ("simcse",))
    every = {d.key for d in spec.dimensions(strategies.registered()["simcse"])}
    left = {d.key for d in spec.dimensions(strategies.registered()["simcse"], {"strategy.texts"})}
    assert every - left == {"strategy.texts"}


def test_a_knob_that_a_strategy_does_not_have_is_named() -> None:
    with pytest.raises(ValueError, match="mnr has no knob margin"):
        StudySpec("?", (knob("margin"),), ("mnr",)).dimensions(strategies.registered()["mnr"])


def test_numbers_are_shown_with_as_many_digits_as_matter() -> None:
    dimension = Dimension("x", 0.0, 100.0)
    assert [dimension.shown(v) for v in (0.123456, 12.34567, 0.0, 0.000123456)] == [0.1235, 12.35, 0.0, 0.0001235]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strategies": "in_batch"}, "is not a tuple"),
        ({"strategies": ("mnr", "mnr")}, "each once"),
        ({"protocol": "grid"}, "strategy.margin has a range"),
        ({"seeds": (1, 101)}, "seed 101 is in both seeds and fresh"),
    ],
)
def test_what_is_no_study_cannot_be_declared(changes: dict[str, Any], message: str) -> None:
    asked = replace(registered()["margin"], vary=(Dimension("strategy.margin", 0.0, 0.5),))
    with pytest.raises(ValueError, match=message):
        replace(asked, **changes)


def test_studies_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("list", "studies") == 0
    out = capsys.readouterr().out
    assert all(f"{name}: " in out for name in registered())


# What is refused


def test_what_cannot_be_on_this_data_is_told_at_once(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ranks up to 210 are searched, and the data has 60 passages."""
    assert bench("study", "tune", "trials=3", *words(data, tmp_path, "strategy=mined_hard")) == 2
    assert "ranks up to 210 are needed" in capsys.readouterr().err
    assert not list(tmp_path.glob("studies/*"))


@pytest.mark.parametrize(
    ("words_", "message"),
    [
        (["margn"], "no study 'margn'.*margin"),
        (["margin", "strategy=mnr"], "study margin: strategy mnr has no knob margin"),
        (["margin", "strategy.margin=0.1"], "strategy.margin=0.1 cannot be set: study margin varies it"),
        (["hnsw", "index.engine=faiss"], "index.engine=faiss cannot be set: study hnsw varies it"),
        (["margin", "seed=1"], "seed= is set by the study"),
        (["margin", "trials=0"], "trials=0 must be at least 1"),
        (["margin", "trials=many"], "trials=many is not a whole number"),
        (["pooling", "trials=3"], "tries every combination"),
        (["margin", "sampler=guess"], "sampler=.?guess"),
        (["margin", "train.weight_decay=0,0.1"], "cannot be comma lists, except strategy="),
        (["margin", "storage=nosuch://host/db"], "storage=nosuch://host/db"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_trained(
    data: Path, tmp_path: Path, words_: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import re

    name, *more = words_
    assert bench("study", name, *words(data, tmp_path, *more)) == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert not list(tmp_path.glob("*/record.json"))


def test_a_place_that_cannot_be_written_is_told_before_anything_is_trained(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert bench("study", "margin", "--out", str(tmp_path / "file"), *words(data, tmp_path)) == 2
    assert str(tmp_path / "file") in capsys.readouterr().err
    assert not list(tmp_path.glob("*/record.json"))


@pytest.mark.parametrize(("text", "message"), [("STUDY = 3", "is not a StudySpec"), ("x = (", "SyntaxError")])
def test_a_broken_study_file_is_told_with_its_name(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import studies

    (tmp_path / "broken.py").write_text(text)
    monkeypatch.setattr(studies, "__path__", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "studies.broken", raising=False)
    assert bench("list", "studies") == 2
    error = capsys.readouterr().err
    assert error.startswith("bench: studies/broken.py: ") and message in error
