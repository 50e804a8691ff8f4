"""Run ids and settings: what changes a result changes them, and nothing else does."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.record.identity import SAME_METRICS, SAME_RESULT, run_id, setting
from bench.record.serialize import canonical, serialize

config = {
    "strategy": {"name": "in_batch", "scale": 30.0},
    "data": {"name": "quora", "max_passages": 5},
    "train": {"steps": 100, "save_every": 50},
    "mining": {"memory_mb": 512, "judge": None},
    "index": {"threads": 2, "ef": 100},
    "eval": {"untrained": False},
    "seed": 3,
    "runs_dir": "runs",
    "track": "auto",
}


def changed(key: str, value: Any) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads(json.dumps(config))
    *groups, last = key.split(".")
    group = tree
    for name in groups:
        group = group[name]
    group[last] = value
    return tree


def test_a_run_id_says_what_it_is() -> None:
    assert re.fullmatch(r"in_batch-quora-s3-[0-9a-f]{8}", run_id(config, "f00d"))


@pytest.mark.parametrize("key", SAME_RESULT)
def test_what_does_not_change_a_result_does_not_change_the_digits(key: str) -> None:
    assert run_id(changed(key, "other"), "f00d")[-8:] == run_id(config, "f00d")[-8:]


@pytest.mark.parametrize("key", ["strategy.scale", "data.max_passages", "train.steps", "index.ef", "seed", "new"])
def test_what_changes_a_result_changes_the_digits(key: str) -> None:
    assert run_id(changed(key, 77), "f00d")[-8:] != run_id(config, "f00d")[-8:]
    assert (setting(changed(key, 77)) == setting(config)) == (key == "seed")


@pytest.mark.parametrize("key", SAME_METRICS)
def test_what_only_adds_files_is_the_same_setting(key: str) -> None:
    assert setting(changed(key, "other")) == setting(config)


@pytest.mark.parametrize(("key", "before"), [("index.engine", "hnswlib"), ("eval.max_corpus", None)])
def test_a_later_setting_counts_once_it_is_another(key: str, before: Any) -> None:
    """Records from before the setting have the name of those that have it as it was, and compare with them."""
    same, other = changed(key, before), changed(key, "exact")
    assert run_id(same, "f00d") == run_id(config, "f00d") != run_id(other, "f00d")
    assert setting(same) == setting(config) != setting(other)


def test_the_engine_of_a_record_is_told_whatever_its_age() -> None:
    assert setting(config)["index.engine"] == "hnswlib"
    assert setting(changed("index.engine", "faiss"))["index.engine"] == "faiss"


def test_other_texts_under_the_same_name_are_another_run() -> None:
    assert run_id(config, "f00d") != run_id(config, "beef")


def test_order_of_keys_and_spelling_of_numbers_make_no_difference() -> None:
    shuffled = {key: config[key] for key in reversed(config)}
    assert run_id(shuffled, "f00d") == run_id(config, "f00d") == run_id(changed("strategy.scale", 30), "f00d")


@given(
    st.text(min_size=1).filter(lambda s: "\x00" not in s),
    st.text(min_size=1, max_size=90),
    st.integers(0, 2**31),
)
def test_a_run_id_is_safe_as_a_directory_and_in_wandb(data: str, strategy: str, seed: int) -> None:
    tree = {"strategy": strategy, "data": {"path": data}, "seed": seed}
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", run_id(tree, ""))


def test_a_path_gives_its_last_part() -> None:
    assert run_id(changed("data.name", "/data/sets/lcqmc"), "f").startswith("in_batch-lcqmc-s3-")


# Plain values


def test_scalars_of_other_libraries_become_numbers() -> None:
    assert serialize({"a": np.float32(0.5), "b": torch.tensor(3), "c": (np.int64(1), np.bool_(True))}) == {
        "a": 0.5,
        "b": 3,
        "c": [1, True],
    }
    with pytest.raises(TypeError, match="ndarray"):
        serialize(np.zeros(2))


def test_canonical_text_keeps_apart_what_differs() -> None:
    values = [None, True, 1, "1", [1], 1.5, {"a": 1}, {"a": [1]}, {"a": {}}, "None"]
    assert len({canonical(value) for value in values}) == len(values)
    assert canonical(1) == canonical(1.0)
