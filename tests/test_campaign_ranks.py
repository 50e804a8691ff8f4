"""Kills of one of two processes that train together, any of them at any moment. ``make campaign``.

Each command is started as a person does, ``bench run ... devices=2``. Of its processes one is killed: the command must
end within 30 seconds with one message, leave no process behind, and go on when given again, to the bit.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
from safetensors.torch import load_file
from test_campaign import RUNS, SEED, SHARE, Counted, words
from tiny_runs import record_of, runs_in

pytestmark = pytest.mark.campaign

KILLS, ENDS_WITHIN_S = max(4, round(SHARE * 20)), 30
KINDS = RUNS | {"a queue in two groups": {"strategy": "queue", "strategy.warmup": "2", "train.groups": "2"}}
KINDS = {name: more | {"devices": "2"} for name, more in KINDS.items()}


class Launched:
    """``bench run WORDS`` in a process group of its own; its output goes to a file."""

    def __init__(self, given: list[str], place: Path) -> None:
        self.root, self.out, self.began = place / "runs", place / "out", monotonic()
        with self.out.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "bench", "run", *given],
                stdout=out,
                stderr=out,
                env={**os.environ, "NEGBENCH_CACHE": str(place / "cache"), "OMP_NUM_THREADS": "1"},
                start_new_session=True,
            )

    def ranks(self) -> list[int]:
        """The processes that it started, in order of rank."""
        found = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=False)
        return sorted(map(int, found.stdout.split()))

    def works(self) -> float:
        """Wait until the run has a directory; the time."""
        while not self.root.exists() and self.process.poll() is None:
            sleep(0.005)
        return monotonic()

    def left(self) -> list[str]:
        """What is still alive of its process group."""
        found = subprocess.run(
            ["pgrep", "-a", "-g", str(self.process.pid)], capture_output=True, text=True, check=False
        )
        return found.stdout.splitlines()


def result(root: Path) -> dict[str, Any]:
    """All of a finished run that does not tell time: its record and its weights."""
    (path,) = runs_in(root).values()
    record = record_of(path)
    assert record.status == "finished" and not (path / "checkpoints").exists()
    assert record.training is not None
    return {
        "metrics": record.metrics,
        "before": record.baseline_metrics,
        "selection": record.selection,
        "telemetry": record.training["telemetry"],
        "texts": record.cost["texts_encoded"],
        "history": (path / "history.jsonl").read_text(),
        "weights": {k: v.numpy().tobytes() for k, v in load_file(path / "model" / "model.safetensors").items()},
    }


def test_a_killed_process_ends_all_and_the_run_goes_on(data: Path, tmp_path: Path) -> None:
    rng, counted = random.Random(SEED), Counted("kills of one of two processes")
    longest, ranks, expected = 0.0, [0, 0], dict[str, tuple[float, dict[str, Any]]]()
    for turn in range(KILLS):
        kind = list(KINDS)[turn % len(KINDS)]
        if kind not in expected:
            place = tmp_path / f"alone {turn}"
            place.mkdir()
            whole = Launched(words(data, place / "runs", **KINDS[kind]), place)
            since = whole.works()
            assert whole.process.wait() == 0, whole.out.read_text()
            expected[kind] = monotonic() - since, result(place / "runs")
        seconds, wanted = expected[kind]
        killed = False
        while not killed:
            place = tmp_path / f"{turn} {rng.random()}"
            place.mkdir()
            given, rank = words(data, place / "runs", **KINDS[kind]), rng.randrange(2)
            run = Launched(given, place)
            until = run.works() + rng.uniform(0, seconds)
            sleep(max(0.0, until - monotonic()))
            alive = run.ranks()
            if len(alive) == 2:
                os.kill(alive[rank], signal.SIGKILL)
            since, status = monotonic(), run.process.wait(300)
            took = monotonic() - since
            killed = status != 0  # else every process had ended well, so the kill came too late

        def holds(
            run: Launched = run,
            given: list[str] = given,
            place: Path = place,
            wanted: Any = wanted,
            ended: tuple[int, int, float] = (rank, status, took),
        ) -> None:
            rank, status, took = ended
            told = run.out.read_text()
            assert status == 2 and took < ENDS_WITHIN_S and run.left() == [], (ended, run.left(), told)
            assert len(re.findall(rf"rank {rank} of 2 was killed", told)) == 1, told
            assert told.count("bench: ") == 1 and "Traceback" not in told, told
            again = Launched(given, place)
            assert again.process.wait(300) == 0, again.out.read_text()
            found = result(place / "runs")
            assert [key for key in wanted if found[key] != wanted[key]] == []

        counted.check(f"{kind}, rank {rank}, {until - run.began:.1f} s after its start", holds)
        ranks[rank] += 1
        longest = max(longest, took)
    print(f"\nprocesses killed: {ranks}; the others ended within {longest:.1f} s")
    counted.end()
