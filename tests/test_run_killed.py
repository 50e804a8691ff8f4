"""Runs that are killed, interrupted or fail: what is told, and that they can be gone on with."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import wandb
from safetensors.torch import load_file
from tiny import bench
from tiny_runs import KILLED, exact, only_run, record_of, runs_in, words
from wandb_log import read

from bench.progress import Display


@pytest.mark.parametrize("step", random.Random(0).sample(range(1, 7), 2))
def test_a_killed_run_ends_as_if_it_had_not_been(step: int, data: Path, tmp_path: Path) -> None:
    changes = {"train__max_steps": "6", "train__save_every": "2", "train__eval_every": "3"}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    command = words(data, killed, **changes)
    done = subprocess.run([sys.executable, "-c", KILLED.format(step=step), *command], capture_output=True, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (only_run(killed) / "record.json").exists()
    assert bench(*command) == 0
    assert bench(*words(data, whole, **changes)) == 0
    one, other = only_run(whole), only_run(killed)
    assert one.name == other.name
    expected, got = (load_file(path / "model" / "model.safetensors") for path in (one, other))
    assert expected.keys() == got.keys()
    assert all(torch.equal(expected[name], got[name]) for name in expected)
    assert exact(record_of(other)) == exact(record_of(one))
    assert [json.loads(line)["step"] for line in (other / "history.jsonl").read_text().splitlines()] == [
        json.loads(line)["step"] for line in (one / "history.jsonl").read_text().splitlines()
    ]


def at_step(monkeypatch: pytest.MonkeyPatch, step: int, act: Callable[[], None]) -> None:
    """Do ``act`` when training has come to ``step``."""

    def training(self: Display, now: int, total: int, rate: float) -> None:
        if now == step:
            act()

    monkeypatch.setattr(Display, "training", training)


@pytest.mark.parametrize(
    "stages", [{}, {"strategy": "in_batch+mnr", "train__max_steps": "null", "train__stage_steps": "[3,3]"}]
)
def test_a_run_that_goes_on_is_tracked_whole_and_once(
    stages: dict[str, str], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W&B's log has the rows of ``history.jsonl``, each once, however many the interrupted run had told."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    changes = {"train__max_steps": "6", "train__log_every": "1", "train__eval_every": "2", "train__save_every": "2"}
    command = words(data, tmp_path, **{**changes, **stages, "track": "offline"})
    with monkeypatch.context() as patch:
        at_step(patch, 5, interrupt)
        assert bench(*command) == 130
    assert bench(*command) == 0
    wandb.teardown()
    (log,) = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    (path,) = (path for name, path in runs_in(tmp_path).items() if name != "wandb")
    expected: dict[int, dict[str, float]] = {}
    for line in (path / "history.jsonl").read_text().splitlines():
        row = json.loads(line)
        expected.setdefault(row.pop("step"), {}).update(row)
    rows = read(log)["history"]
    assert [row["_step"] for row in rows] == list(expected) == [1, 2, 3, 4, 5, 6]
    for row in rows:
        assert {key: row[key] for key in expected[row["_step"]]} == expected[row["_step"]]


@pytest.fixture
def heeds_interruption() -> Iterator[None]:
    """As in the foreground of a terminal; a shell's background jobs ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeds_interruption")
def test_an_interruption_is_one_line_and_status_130(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        at_step(patch, 3, lambda: signal.raise_signal(signal.SIGINT))
        assert bench(*words(data, tmp_path, train__save_every="1")) == 130
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("bench:")]
    assert told == ["bench: interrupted; the same command continues a run from its last checkpoint"]
    assert not (only_run(tmp_path) / "record.json").exists()
    assert bench(*words(data, tmp_path, train__save_every="1")) == 0
    assert record_of(only_run(tmp_path)).status == "finished"


def test_a_failed_run_says_so_and_can_be_run_again(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_memory() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    with monkeypatch.context() as patch:
        at_step(patch, 2, no_memory)
        assert bench(*words(data, tmp_path)) == 2
    assert "train.micro_batch" in capsys.readouterr().err
    record = record_of(only_run(tmp_path))
    assert record.status == "failed"
    assert "ran out of memory" in (record.error or "")
    assert record.metrics == {}
    assert bench(*words(data, tmp_path)) == 0
    assert record_of(only_run(tmp_path)).status == "finished"


def test_a_loss_that_is_not_finite_fails_the_run(data: Path, tmp_path: Path) -> None:
    assert bench(*words(data, tmp_path, train__lr="1e30")) == 2
    record = record_of(only_run(tmp_path))
    assert record.status == "failed"
    assert "lower train.lr" in (record.error or "")
