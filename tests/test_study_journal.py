"""A study in a journal that machines share: workers divide its trials, and its lock and lines survive a kill."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
import tiny_studies
from tiny import write_data

import bench.study.journal as journal
from bench.errors import UserError
from bench.study.storage import open_storage

TRIALS = 4


def add(url: str) -> int:
    """Begin a trial of the study; how many it has then."""
    study = optuna.create_study(storage=open_storage(url, Path("unused")), study_name="s", load_if_exists=True)
    study.ask()
    return len(study.trials)


def test_two_processes_share_the_trials_of_a_study(tmp_path: Path) -> None:
    data = write_data(tmp_path / "tiny")
    words = tiny_studies.words(data, tmp_path / "runs", f"trials={TRIALS}", f"storage=journal://{tmp_path}/shared.log")
    environment = {**os.environ, "NEGBENCH_CACHE": str(tmp_path / "cache")}
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "bench", "study", "margin", *words],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=Path(__file__).parents[1],
        )
        for _ in range(2)
    ]  # fmt: skip
    told = [worker.communicate(timeout=300)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], told
    trials = tiny_studies.trials(tmp_path / "runs")
    assert trials.state.tolist() == ["complete"] * TRIALS
    done = [{int(n) for n in re.findall(r"^trial (\d+) of", text, re.MULTILINE)} for text in told]
    assert done[0] | done[1] == set(range(1, TRIALS + 1)) and not done[0] & done[1]
    assert not list(tmp_path.glob("shared.log.lock*")), "the lock is released"
    assert not list((tmp_path / "runs").glob("studies/*/trials.log"))


def test_a_lock_that_a_dead_process_left_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "GRACE_S", 3)
    monkeypatch.chdir(tmp_path)
    assert add("journal://trials.log") == 1
    (tmp_path / "trials.log.lock").symlink_to(tmp_path / "trials.log")
    assert add("journal://trials.log") == 2


def test_a_line_that_a_kill_has_cut_is_dropped_by_whoever_writes_next(tmp_path: Path) -> None:
    url, log = f"journal://{tmp_path}/trials.log", tmp_path / "trials.log"
    study = optuna.create_study(storage=open_storage(url, tmp_path), study_name="s")
    study.ask()
    with log.open("ab") as file:
        file.write(b'{"op_code":' + b" " * 2**17)
    study.ask()  # of a process that has the file open
    assert len(study.trials) == 2
    assert add(url) == 3


@pytest.mark.parametrize(
    ("url", "told"),
    [("journal://", "names no file"), ("journal:///", "names no file"), ("journal:///no/such/t.log", "no directory")],
)
def test_a_journal_without_a_place_is_refused(url: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=told):
        open_storage(url, tmp_path)


def test_a_file_that_is_no_journal_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a journal\nat all\n")
    with pytest.raises(UserError, match="no journal of trials"):
        open_storage(f"journal://{tmp_path}/notes.txt", tmp_path)
