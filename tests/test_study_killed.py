"""A study's processes: killed at any moment it finds the same, it wastes no time and no memory."""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tiny import bench
from tiny_studies import TRIALS, result, trials, words

KILLS = 20

# A process that imports once and lets children carry out the study, each of which kills itself at a given moment:
# before or after a trial's storage, a checkpoint, a record or a history row is written, or a step is made.
DYING = """
import json, os, signal, sys
from bench import cli
import bench.config.overrides, bench.study.setup, bench.run.lifecycle, bench.train.trainer
from optuna.storages.journal import JournalFileBackend
from bench.record.store import RunDirectory
from bench.train import checkpoint
from bench.train.step import Stepper

def mortal(owner, name, lives):
    plain = getattr(owner, name)
    def wrapped(*args, **kwargs):
        lives[0] -= 1
        if lives[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        done = plain(*args, **kwargs)
        lives[0] -= 1
        if lives[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return done
    setattr(owner, name, wrapped)

moments, words = json.loads(sys.argv[1]), sys.argv[2:]
killed = 0
for moment in [*moments, 10**9]:
    child = os.fork()
    if not child:
        lives = [moment]
        for owner, name in ((JournalFileBackend, "append_logs"), (checkpoint, "write"), (Stepper, "backward"),
                            (RunDirectory, "write_record"), (RunDirectory, "append_history")):
            mortal(owner, name, lives)
        try:
            cli.main(words)
        except SystemExit as end:
            os._exit(end.code or 0)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        killed += 1
    else:
        assert status == 0, status
        break
print("killed", killed)
"""


def test_killed_twenty_times_it_finds_the_same(data: Path, margin: Path, tmp_path: Path) -> None:
    rng = random.Random(0)
    moments = [rng.randint(1, 24) for _ in range(KILLS)]
    command = ["study", "margin", f"trials={TRIALS}", *words(data, tmp_path, "train.save_every=1")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", DYING, json.dumps(moments), *command],
        capture_output=True, text=True, env=environment, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert f"killed {KILLS}" in done.stdout
    columns = ["strategy", "number", "state", "value", "strategy.margin"]
    pd.testing.assert_frame_equal(trials(tmp_path)[columns], trials(margin)[columns])
    for one, other in zip(result(tmp_path)["comparison"]["rows"], result(margin)["comparison"]["rows"], strict=True):
        exact = [{k: v for k, v in row["metrics"].items() if "exact" in k} for row in (one, other)]
        assert exact[0] == exact[1]
    runs = [{path.parent.name for path in root.glob("*/record.json")} for root in (tmp_path, margin)]
    assert runs[0] == runs[1]
    assert not list(tmp_path.glob("*/checkpoints"))


def test_the_next_trial_trains_at_once(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the first has loaded, tokenised and embedded is there for the second: it trains within two seconds of the
    processor, which other work on the machine does not lengthen.
    """
    from time import process_time

    from bench.record.store import RunDirectory
    from bench.train.step import Stepper

    told: list[tuple[str, float]] = []
    for owner, name in ((RunDirectory, "write_record"), (Stepper, "backward")):
        plain = getattr(owner, name)

        def wrapped(*args: Any, plain: Any = plain, name: str = name, **kwargs: Any) -> Any:
            told.append((name, process_time()))
            return plain(*args, **kwargs)

        monkeypatch.setattr(owner, name, wrapped)
    assert bench("study", "margin", "trials=3", *words(data, tmp_path)) == 0
    waits = [
        after[1] - before[1]
        for before, after in itertools.pairwise(told)
        if (before[0], after[0]) == ("write_record", "backward")
    ]
    assert len(waits) >= 2 and max(waits) < 2


RESIDENT = """
import sys
from pathlib import Path
from bench import cli
import bench.study.runner as runner
plain = runner.StudyRunner._trial
def trial(self, *arguments):
    plain(self, *arguments)
    print("resident", Path("/proc/self/statm").read_text().split()[1], file=sys.stderr)
runner.StudyRunner._trial = trial
cli.main(sys.argv[1:])
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
def test_memory_does_not_grow_from_trial_to_trial(data: Path, tmp_path: Path) -> None:
    command = ["study", "margin", "trials=30", *words(data, tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", RESIDENT, *command],
        capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    pages = [int(line.split()[1]) for line in done.stderr.splitlines() if line.startswith("resident")]
    assert len(pages) == 30
    assert pages[-1] <= 1.05 * pages[2], pages
