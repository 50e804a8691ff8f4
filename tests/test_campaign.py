"""The reliability campaign: many kills, many processes started together, many generated inputs. ``make campaign``.

Every start is a process of its own, forked after the imports, so that kills and starts meet the work and not the
interpreter. ``CAMPAIGN=0.1`` does a tenth.
"""

from __future__ import annotations

import io
import os
import random
import re
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pandas as pd
import pytest
import torch
from generated import INPUTS
from safetensors.torch import load_file
from tiny import bench, words_for
from tiny_runs import exact, record_of, runs_in

pytestmark = pytest.mark.campaign

SHARE = float(os.environ.get("CAMPAIGN", "1"))
SEED = 20261128
KILLS, STARTS, GENERATED = (max(4, round(SHARE * number)) for number in (60, 40, 1000))

MINED = {"strategy": "mined_hard", "strategy.first": "1", "strategy.last": "30", "strategy.n": "4"}
LONGER = {"train.max_steps": "20", "train.save_every": "3", "train.eval_every": "5", "train.log_every": "2"}
RUNS = {
    "a mined pool": MINED,
    "pools mined again": {"strategy": "ance", "strategy.last": "30", "strategy.refresh": "5"},
    "two stages": {"strategy": "in_batch+mnr", "train.max_steps": "null", "train.stage_steps": "[10,10]"},
}


def words(data: Path, root: Path, **changes: str) -> list[str]:
    """The words of a run that takes about a second; ``None`` would not be a change."""
    return [f"{key}={word}" for key, word in (words_for(data, root) | LONGER | changes).items()]


def study(data: Path, root: Path, trials: int) -> list[str]:
    settings = words_for(data, root) | {"budget.steps": "8", "train.save_every": "2", "keep": "all"}
    settings = {key: word for key, word in settings.items() if key not in ("train.max_steps", "train.epochs")}
    return ["study", "margin", f"trials={trials}", *(f"{key}={word}" for key, word in settings.items())]


class Started:
    """``bench WORDS`` in a process of its own, whose output goes to a file."""

    def __init__(self, words: list[str], cache: Path, out: Path) -> None:
        self.out, self.began = out, monotonic()
        self.pid = os.fork()
        if not self.pid:
            os.environ["NEGBENCH_CACHE"] = str(cache)
            sys.stdout = sys.stderr = out.open("w", buffering=1)
            status = 99
            try:
                status = bench(*words)
            except BaseException:
                traceback.print_exc()
            sys.stdout.flush()
            os._exit(status)

    def end(self) -> int:
        """The exit status, negative after a signal."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def killed_after(self, seconds: float) -> bool:
        """Kill it so long after its start; False if it had ended by then."""
        while monotonic() - self.began < seconds:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                assert os.waitstatus_to_exitcode(status) == 0, self.out.read_text()
                return False
            sleep(0.005)
        os.kill(self.pid, signal.SIGKILL)
        return self.end() == -signal.SIGKILL


class Counted:
    """How many were tried, and how many held; what did not hold is printed at once."""

    def __init__(self, what: str) -> None:
        self.what, self.tried, self.held = what, 0, 0

    def check(self, label: str, holds: Callable[[], object], count: int = 1) -> None:
        """``holds`` raises ``AssertionError`` where something does not."""
        self.tried += count
        try:
            holds()
            self.held += count
        except Exception as error:
            print(f"NOT HELD: {self.what}, {label}: {type(error).__name__}: {str(error)[-1500:]}", flush=True)

    def end(self) -> None:
        print(f"\ncampaign: {self.what}: {self.tried} tried, {self.held} held (seed {SEED})", flush=True)
        assert self.held == self.tried


def measured(root: Path) -> dict[str, Any]:
    """Of every run what it must come to, however it was started: exact metrics before and after, and the weights."""
    found: dict[str, Any] = {}
    for name, path in runs_in(root).items():
        if name == "studies":
            continue
        record = record_of(path)
        assert record.status == "finished" and not (path / "checkpoints").exists()
        weights = load_file(path / "model" / "model.safetensors")
        found[name] = (exact(record), record.baseline_metrics, {key: value.clone() for key, value in weights.items()})
    return found


def assert_equal(got: dict[str, Any], expected: dict[str, Any]) -> None:
    assert got.keys() == expected.keys()
    for name, (metrics, before, weights) in expected.items():
        assert got[name][:2] == (metrics, before), name
        assert all(torch.equal(got[name][2][key], value) for key, value in weights.items()), name


def trials(root: Path) -> pd.DataFrame:
    (path,) = root.glob("studies/*/trials.parquet")
    return pd.read_parquet(path)[["strategy", "number", "state", "value", "strategy.margin"]]


def alone(command: list[str], root: Path, place: Path) -> tuple[float, dict[str, Any]]:
    """The seconds and the result of a command that nobody disturbs; the first start of all is not the measure."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    start = Started(command, place / "cache", place / "out")
    assert start.end() == 0, start.out.read_text()
    return monotonic() - start.began, measured(root)


@pytest.fixture(scope="module", autouse=True)
def warm(data: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The imports of all that is started: a child then begins with its work."""
    root = tmp_path_factory.mktemp("warm")
    for changes in RUNS.values():
        assert bench("run", *words(data, root, **changes)) == 0
    assert bench(*study(data, root, 1)) == 0


def test_killed_at_any_moment_it_ends_as_if_it_had_not_been(data: Path, tmp_path: Path) -> None:
    rng, counted = random.Random(SEED), Counted("kills")
    kinds = [*RUNS, "a study"]
    for turn in range(-(-KILLS // 4)):
        kind, place = kinds[turn % len(kinds)], tmp_path / str(turn)
        root, expected_root = place / "runs", place / "alone" / "runs"

        def command(root: Path, kind: str = kind, turn: int = turn) -> list[str]:
            if kind == "a study":
                return study(data, root, 3)
            return ["run", *words(data, root, seed=str(turn), **RUNS[kind])]

        seconds, expected = alone(command(expected_root), expected_root, place / "alone")
        kills, outputs = 0, []
        while kills < 4 and len(outputs) < 40:
            start = Started(command(root), place / "cache", place / "out")
            kills += start.killed_after(rng.uniform(0, seconds))
            outputs.append(start.out.read_text())
            if (root / "studies").exists() or not list(root.glob("*/record.json")):
                continue
            shutil.rmtree(root)  # it was quicker than the kill: again from the start, with what the cache has

        def holds(place: Path = place, root: Path = root, expected: Any = expected, kind: str = kind) -> None:
            start = Started(command(root), place / "cache", place / "out")
            assert start.end() == 0, start.out.read_text()
            assert "is damaged" not in start.out.read_text() + "".join(outputs)  # noqa: B023
            assert_equal(measured(root), expected)
            if kind == "a study":
                pd.testing.assert_frame_equal(trials(root), trials(place / "alone" / "runs"))

        counted.check(f"{kind}, seed {turn}", holds, kills)
        shutil.rmtree(place)
    counted.end()


def together(commands: list[list[str]], place: Path, rng: random.Random) -> list[str]:
    """Start the commands within half a second on one empty cache; their outputs, all having ended with status 0."""
    place.mkdir()
    started = []
    for number, command in enumerate(commands):
        started.append(Started(command, place / "cache", place / f"out{number}"))
        sleep(rng.choice([0, 0, rng.uniform(0, 0.5)]))
    ends = [start.end() for start in started]
    outputs = [start.out.read_text() for start in started]
    assert ends == [0] * len(ends), "\n".join(outputs)
    assert "is damaged" not in "".join(outputs)
    return outputs


def test_started_together_each_ends_as_if_alone(data: Path, tmp_path: Path) -> None:
    rng, counted = random.Random(SEED), Counted("concurrent starts")
    for turn in range(STARTS):
        place, root, seed = tmp_path / str(turn), tmp_path / str(turn) / "runs", str(turn)
        mined = [["run", *words(data, root, seed=seed, **MINED | {"train.lr": f"{n}e-3"})] for n in (1, 2, 3)]
        before = [["run", *words(data, root, seed=seed, strategy=name)] for name in ("in_batch", "mnr", "hardest_neg")]
        sweep = ["run", *words(data, root, strategy="in_batch,mnr", seed=f"{turn},{turn + 1}")]
        kind, commands = (
            ("one mined pool", mined),
            ("one row before training", before),
            ("two equal sweeps", [sweep, sweep]),
            ("two workers of a study", [study(data, root, 4)] * 2),
        )[turn % 4]

        def holds(kind: str = kind, commands: Any = commands, place: Path = place, root: Path = root) -> None:
            outputs = together(commands, place, rng)
            got = measured(root)
            if kind == "two workers of a study":
                found = trials(root)
                assert sorted(found.number) == [0, 1, 2, 3] and set(found.state) == {"complete"}
                assert len(got) == 4 + 6
                return
            if kind == "two equal sweeps":
                tables = [output[output.index("tiny, split") :] for output in outputs]
                assert tables[0] == tables[1]
            expected_root = place / "alone" / "runs"
            expected: dict[str, Any] = {}
            for command in commands[: 1 if kind == "two equal sweeps" else None]:
                expected |= alone(
                    [w.replace(str(root), str(expected_root)) for w in command], expected_root, place / "alone"
                )[1]
            assert_equal(got, expected)

        counted.check(f"{kind}, seed {turn}", holds)
        shutil.rmtree(place, ignore_errors=True)
    counted.end()


def test_whatever_is_given_it_works_or_says_what_is_wrong(data: Path, tmp_path: Path) -> None:
    """Of a generated input: status 0 or 1, or 2 with a message; never a traceback."""
    runs = tmp_path / "runs"
    assert bench("run", *words(data, runs, strategy="in_batch,mnr", seed="1,2")) == 0
    rng, counted = random.Random(SEED), Counted("generated inputs")
    for number in range(GENERATED):
        kind = list(INPUTS)[number % len(INPUTS)]
        place = tmp_path / f"input{number}"
        command = INPUTS[kind](rng, place, data, runs)

        def holds(command: list[str] = command) -> None:
            told = io.StringIO()
            with redirect_stdout(told), redirect_stderr(told):
                status = bench(*command)
            assert status in (0, 1) or (status == 2 and re.search("bench: |Usage: |Error|problems?;", told.getvalue()))
            assert "Traceback" not in told.getvalue(), told.getvalue()

        counted.check(f"{number}, {' '.join(command)[:300]!r}", holds)
        shutil.rmtree(place, ignore_errors=True)
    counted.end()
