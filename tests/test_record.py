"""Run directories, records, the ledger and run ids: no kill and no full disk makes a false result."""

from __future__ import annotations

import json
import math
import mmap
import multiprocessing
import os
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.disk import write_whole
from bench.errors import UserError
from bench.record import ledger
from bench.record.environment import environment, git_commit, peak_memory_mb, reset_peak_memory
from bench.record.identity import SAME_METRICS, SAME_RESULT, run_id, setting
from bench.record.plain import canonical, plain
from bench.record.record import Record, RecordError
from bench.record.store import RunDirectory


def record(**changes: Any) -> Record:
    fields: dict[str, Any] = {
        "run_id": "in_batch-quora-s1-00c0ffee",
        "strategy": "in_batch",
        "knobs": {"scale": 30.0, "margin": 0.2},
        "data": {"name": "quora", "fingerprint": "f00d", "counts": {"passages": 10}},
        "encoder": {"name": "minilm", "pooling": "mean"},
        "seed": 1,
        "status": "finished",
        "command": "bench run strategy=in_batch",
        "config": {"seed": 1, "strategy": {"name": "in_batch"}, "data": {"name": "quora"}},
        "split": "dev",
        "started": "2025-01-01T00:00:00+00:00",
        "metrics": {"recall@1": 51.3, "exact/recall@1": 51.4},
    }
    return Record(**{**fields, **changes})


# Records


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
        ({"metrics": {"recall@1": "high"}}, "metrics="),
        ({"metrics": {"recall@1": True}}, "metrics="),
        ({"data": {"name": "x", "counts": {}}}, r"data\.fingerprint"),
        ({"schema": 99}, "schema=99"),
        ({"colour": "red"}, "unknown field colour"),
    ],
)
def test_a_record_of_another_kind_is_refused(changes: dict[str, Any], told: str) -> None:
    tree = {**json.loads(record().to_json()), **changes}
    with pytest.raises(RecordError, match=told):
        Record.from_json(json.dumps(tree), Path("record.json"))


def test_every_prefix_of_a_record_is_told_from_the_whole() -> None:
    text = record().to_json().strip()
    for end in range(0, len(text), 7):
        with pytest.raises(RecordError, match="half-written"):
            Record.from_json(text[:end], Path("record.json"))


def test_a_wrong_value_is_told_before_it_is_written() -> None:
    with pytest.raises(ValueError, match="seed='one' is not a whole number"):
        record(seed="one")


# Run directories


def test_what_is_written_is_read(tmp_path: Path) -> None:
    ranks = pd.DataFrame({"query": [3, 5], "rank": [1, 40]})
    with RunDirectory.open(tmp_path / "new" / "runs", record().run_id) as run:
        assert not run.finished
        run.write_config({"train": {"lr": 1e-5}, "data": {"path": Path("a/b")}})
        run.write_ranks(ranks)
        run.write_record(record(status="running"))
        assert not run.finished
        run.write_record(record())
    again = RunDirectory(tmp_path / "new" / "runs", record().run_id)
    assert again.finished and again.read_record() == record()
    pd.testing.assert_frame_equal(again.read_ranks(), ranks)
    assert (again.path / "config.yaml").read_text() == "train:\n  lr: 1.0e-05\ndata:\n  path: a/b\n"
    assert not list(again.path.glob("*.part"))


def test_a_cleared_run_is_as_new_and_still_held(tmp_path: Path) -> None:
    with RunDirectory.open(tmp_path, "r") as run:
        run.append_history({"step": 1})
        run.write_record(record())
        for folder in (run.model, run.checkpoints):
            folder.mkdir()
            (folder / "weights").write_text("w")
        run.drop_checkpoints()
        assert run.finished and run.model.exists() and not run.checkpoints.exists()
        run.clear()
        assert not run.finished and [path.name for path in run.path.iterdir()] == [".lock"]
        with pytest.raises(UserError, match="another process"), RunDirectory.open(tmp_path, "r"):
            pass


def hold(root: Path, held: Any, let_go: Any) -> None:
    with RunDirectory.open(root, "r"):
        held.set()
        let_go.wait(30)


def test_a_run_has_one_writer_and_a_killed_one_lets_go(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    held, let_go = context.Event(), context.Event()
    other = context.Process(target=hold, args=(tmp_path, held, let_go))
    other.start()
    assert held.wait(30)
    with pytest.raises(UserError, match="another process is writing"), RunDirectory.open(tmp_path, "r"):
        pass
    other.kill()
    other.join()
    with RunDirectory.open(tmp_path, "r"), RunDirectory.open(tmp_path, "r2"):
        pass
    with RunDirectory.open(tmp_path, "r"):
        pass


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_whole(path, b"old")
    with pytest.raises(TypeError):
        write_whole(path, "not bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told_with_the_path(tmp_path: Path) -> None:
    with RunDirectory.open(tmp_path, "r") as run:
        run.write_record(record(status="running"))
        (run.path / "record.json.part").symlink_to("/dev/full")
        (run.path / "history.jsonl").symlink_to("/dev/full")
        with pytest.raises(UserError, match=r"cannot write .*/r/record\.json: No space left.*free some space"):
            run.write_record(record())
        with pytest.raises(UserError, match=r"cannot write .*/r/history\.jsonl: No space left"):
            run.append_history({"step": 1})
        assert run.read_record().status == "running"


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_directory_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with (
        pytest.raises(UserError, match="Permission denied; choose a runs_dir"),
        RunDirectory.open(tmp_path, "r"),
    ):
        pass


def test_a_file_where_the_runs_should_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*runs"), RunDirectory.open(tmp_path / "runs", "r"):
        pass


events = st.lists(
    st.fixed_dictionaries(
        {"step": st.integers(0, 20)}, optional={"loss": st.floats(width=32), "text": st.text(max_size=5)}
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(before=events, after=events, step=st.integers(-1, 20), torn=st.binary(max_size=9))
def test_history_after_a_kill_is_as_if_it_had_stopped_at_the_checkpoint(
    tmp_path_factory: pytest.TempPathFactory,
    before: list[dict[str, Any]],
    after: list[dict[str, Any]],
    step: int,
    torn: bytes,
) -> None:
    run = RunDirectory(tmp_path_factory.mktemp("runs"), "r")
    run.path.mkdir()
    for event in before:
        run.append_history(event)
    with (run.path / "history.jsonl").open("ab") as file:
        file.write(torn.replace(b"\n", b" "))
    run.truncate_history(step)
    for event in after:
        run.append_history(event)

    def written(event: dict[str, Any]) -> dict[str, Any]:
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in event.items()}

    assert run.history() == [written(e) for e in before if e["step"] <= step] + [written(e) for e in after]


def test_a_broken_line_of_history_has_a_place(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path, "")
    run.append_history({"step": 1})
    with (tmp_path / "history.jsonl").open("a") as file:
        file.write("{broken\n{}\n")
    with pytest.raises(UserError, match=r"history\.jsonl:2: "):
        run.history()


# The ledger


def write(root: Path, one: Record) -> Path:
    path = root / one.run_id / "record.json"
    path.parent.mkdir(parents=True)
    path.write_text(one.to_json())
    return path


def test_the_ledger_names_what_it_leaves_out(tmp_path: Path) -> None:
    good = [record(run_id=f"good-{n}", seed=n) for n in range(3)]
    for one in good:
        write(tmp_path, one)
    write(tmp_path, record(run_id="going", status="running"))
    failed = write(tmp_path, record(run_id="failed", status="failed", error="loss is nan at step 3"))
    torn = write(tmp_path, record(run_id="torn"))
    torn.write_bytes(torn.read_bytes()[:100])
    garbled = write(tmp_path, record(run_id="garbled"))
    garbled.write_bytes(b"\xff\x00")
    copied = write(tmp_path, record(run_id="copied"))
    copied.write_text(good[0].to_json())
    (tmp_path / "started").mkdir()
    (tmp_path / "wandb").mkdir()

    found = ledger.read(tmp_path)
    assert found.records == good
    why = dict(found.skipped)
    assert why.keys() == {failed, torn, garbled, copied}
    assert "loss is nan at step 3" in why[failed]
    assert "half-written" in why[torn] and "half-written" in why[garbled]
    assert "good-0" in why[copied]
    with pytest.raises(UserError, match="no runs at"):
        ledger.read(tmp_path / "nowhere")


# Names of runs

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
    assert plain({"a": np.float32(0.5), "b": torch.tensor(3), "c": (np.int64(1), np.bool_(True))}) == {
        "a": 0.5,
        "b": 3,
        "c": [1, True],
    }
    with pytest.raises(TypeError, match="ndarray"):
        plain(np.zeros(2))


def test_canonical_text_keeps_apart_what_differs() -> None:
    values = [None, True, 1, "1", [1], 1.5, {"a": 1}, {"a": [1]}, {"a": {}}, "None"]
    assert len({canonical(value) for value in values}) == len(values)
    assert canonical(1) == canonical(1.0)


# The environment


def test_the_environment_is_plain_and_names_the_machine() -> None:
    found = environment("cpu")
    assert json.loads(json.dumps(found)) == found
    assert found["torch"] == torch.__version__ and found["threads"] == torch.get_num_threads()
    assert found["cpu"] and found["packages"]["torch"]


def test_the_commit_says_when_the_checkout_differs_from_it(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        who = ["-c", "user.name=n", "-c", "user.email=e@x"]
        done = subprocess.run(["git", "-C", str(tmp_path), *who, *arguments], capture_output=True, check=True)
        return done.stdout.decode().strip()

    assert git_commit(tmp_path) is None
    git("init", "-q")
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-qm", "a")
    head = git("rev-parse", "HEAD")
    (tmp_path / "untracked").write_text("")
    assert git_commit(tmp_path) == head
    (tmp_path / "a").write_text("2")
    assert git_commit(tmp_path) == head + "+dirty"
    (tmp_path / "inside").mkdir()
    assert git_commit(tmp_path / "inside") is None


def test_peak_memory_sees_what_was_held_and_forgets_it() -> None:
    held = np.ones(100 * 2**17)  # 100 MB of 2**20 bytes
    high = peak_memory_mb("cpu")
    assert 100 < high < 2**20
    del held
    reset_peak_memory("cpu")
    low = peak_memory_mb("cpu")
    assert low <= high
    if sys.platform == "linux" and low < high:  # where the kernel lets the peak be reset
        with mmap.mmap(-1, 50 * 2**20) as again:  # new pages: an array may find room that was freed before
            np.frombuffer(again, dtype=np.uint8)[:] = 1
            assert peak_memory_mb("cpu") >= low + 40
