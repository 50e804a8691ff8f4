"""What a study asks: what can be declared, and what is refused before anything is trained."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny import bench
from tiny_studies import words

import strategies
from bench.study.spec import grid
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
