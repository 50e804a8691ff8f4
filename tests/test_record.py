"""Records: what is written is plain and whole, and what is read is told when it is not."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from records import record

from bench.record.record import Record, RecordError


def test_a_record_survives_its_file() -> None:
    one = record(knobs={"名": "值", "deep": {"list": [1, 2.5, None, True]}}, baseline_metrics={"recall@1": 7.0})
    assert Record.from_json(one.to_json(), Path("record.json")) == one


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, np.float32("nan"), torch.tensor(math.nan)])
def test_what_is_not_finite_is_never_written(odd: Any) -> None:
    text = record(cost={"train_s": 1}, selection={"metric": odd}).to_json()
    assert json.loads(text, parse_constant=pytest.fail)["selection"] == {"metric": None}


def test_a_nan_in_a_file_is_refused() -> None:
    text = record().to_json().replace("51.3", "NaN")
    with pytest.raises(RecordError, match=r"runs/x/record\.json.*NaN"):
        Record.from_json(text, Path("runs/x/record.json"))


@pytest.mark.parametrize("field", [name for name in asdict(record()) if name != "schema"])
def test_a_wrong_field_is_named_with_its_file(field: str) -> None:
    tree = json.loads(record().to_json())
    tree[field] = ["wrong"]
    with pytest.raises(RecordError, match=rf"^a/record\.json: {field}=\['wrong'\] is not"):
        Record.from_json(json.dumps(tree), Path("a/record.json"))


@pytest.mark.parametrize("field", ["run_id", "strategy", "knobs", "data", "seed", "status", "config", "split"])
def test_a_missing_field_is_named(field: str) -> None:
    tree = json.loads(record().to_json())
    del tree[field]
    with pytest.raises(RecordError, match=f"{field} missing"):
        Record.from_json(json.dumps(tree), Path("record.json"))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"metrics": {"recall@1": "high"}}, r"metrics\.recall@1='high' is not a number"),
        ({"metrics": {"recall@1": True}}, r"metrics\.recall@1=True is not a number"),
        ({"metrics": {"recall@1": 300}}, r"metrics\.recall@1=300 is not a percentage from 0 to 100"),
        ({"baseline_metrics": {"recall@1": -5}}, r"baseline_metrics\.recall@1=-5 is not a percentage"),
        ({"metrics": {"recall@1": 10**400}}, r"metrics\.recall@1 is not a number of 64 bits"),
        ({"cost": {"train_s": -1.0}}, r"cost\.train_s=-1\.0 is not a number from 0"),
        ({"cost": {"train_s": 1e308}}, r"cost\.train_s=1e\+308 is not a number from 0"),
        ({"seed": -1}, "seed=-1 is not a whole number from 0"),
        ({"seed": 2**70}, "seed is not a number of 64 bits"),
        ({"started": "yesterday"}, "started='yesterday' is not a time"),
        ({"finished": ""}, "finished='' is not a time"),
        ({"command": "rm -rf /"}, "command='rm -rf /' is not a command of bench run"),
        ({"command": "bench run 'data=x"}, "is not a command of bench run"),
        ({"data": {"name": "x", "fingerprint": "f", "counts": {"passages": "ten"}}}, r"data\.counts\.passages='ten'"),
        ({"data": {"name": "x", "fingerprint": "f", "counts": {"passages": -10}}}, r"passages=-10 is not a count"),
        ({"config": {"train": []}}, r"config\.train=\[\] is not a mapping"),
        ({"config": {"train": {"batch_size": "x"}}}, r"config\.train\.batch_size='x' is not a whole number"),
        ({"training": {"telemetry": {"active": "often"}}}, r"training\.telemetry\.active='often' is not a number"),
        ({"selection": {"steps": "many"}}, r"selection\.steps='many' is not a whole number or nothing"),
        ({"environment": {"packages": 5}}, r"environment\.packages=5 is not a mapping or nothing"),
        ({"data": {"name": "x", "counts": {}}}, r"data\.fingerprint"),
        ({"schema": 99}, "schema=99"),
        ({"colour": "red"}, "unknown field colour"),
    ],
)
def test_a_record_of_another_kind_is_refused(changes: dict[str, Any], told: str) -> None:
    tree = {**json.loads(record().to_json()), **changes}
    with pytest.raises(RecordError, match=told):
        Record.from_json(json.dumps(tree), Path("record.json"))


@pytest.mark.parametrize("value", ["1e400", "-1e400", "[" * 100 + "]" * 100, "[" * 10**5 + "]" * 10**5])
def test_what_json_allows_and_no_run_writes_is_refused(value: str) -> None:
    text = record().to_json().replace('"scale": 30.0', f'"scale": {value}')
    with pytest.raises(RecordError, match=r"^a/record\.json: (knobs\.scale|broken)"):
        Record.from_json(text, Path("a/record.json"))


def test_every_prefix_of_a_record_is_told_from_the_whole() -> None:
    text = record().to_json().strip()
    for end in range(0, len(text), 7):
        with pytest.raises(RecordError, match="half-written"):
            Record.from_json(text[:end], Path("record.json"))


def test_a_wrong_value_is_told_before_it_is_written() -> None:
    with pytest.raises(ValueError, match="seed='one' is not a whole number"):
        record(seed="one")
