"""The journal's lock and the heartbeats of a database: they end with whoever holds them, and exclude everybody else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Event, Thread
from threading import enumerate as enumerate_threads

import optuna
import pytest
from filelock import FileLock, Timeout
from optuna.storages import RDBStorage

import bench.study.storage as storage_module
from bench.errors import UserError
from bench.study.heartbeat import heartbeat, trial_id
from bench.study.storage import FileLocking, open_storage

HOLDER = """
import sys, time
from pathlib import Path
from bench.study.storage import FileLocking
lock = FileLocking(Path(sys.argv[1]))
assert lock.acquire()
print("held", flush=True)
time.sleep(600)
"""


def test_two_locks_of_one_process_exclude_each_other(tmp_path: Path) -> None:
    first, second, taken = FileLocking(tmp_path / ".lock"), FileLocking(tmp_path / ".lock"), Event()
    first.acquire()

    def take() -> None:
        second.acquire()
        taken.set()
        second.release()

    thread = Thread(target=take)
    thread.start()
    with pytest.raises(Timeout):
        FileLock(tmp_path / ".lock").acquire(timeout=0)
    assert not taken.is_set(), "the second waits"
    first.release()
    assert taken.wait(30)
    thread.join()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="SIGKILL is what must not leave a lock behind")
def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path / ".lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        taken = Event()
        ours = FileLocking(tmp_path / ".lock")
        thread = Thread(target=lambda: (ours.acquire(), taken.set(), ours.release()))
        thread.start()
        with pytest.raises(Timeout):
            FileLock(tmp_path / ".lock").acquire(timeout=0)
        assert not taken.is_set(), "it is held"
        os.kill(holder.pid, signal.SIGKILL)
        assert taken.wait(30), "and free once its process is gone"
        thread.join()


def test_two_storages_of_one_journal_lose_nothing(tmp_path: Path) -> None:
    """Eight threads with a storage of their own each append to one file."""

    def add(number: int) -> None:
        study = optuna.create_study(storage=open_storage(None, tmp_path), study_name="s", load_if_exists=True)
        for _ in range(5):
            study.ask().set_user_attr("of", number)

    threads = [Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    trials = optuna.load_study(study_name="s", storage=open_storage(None, tmp_path)).trials
    assert sorted(trial.user_attrs["of"] for trial in trials) == sorted(list(range(8)) * 5)


def test_a_heartbeat_begins_at_once_goes_on_and_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_module, "HEARTBEAT_S", 1)
    storage = open_storage(f"sqlite:///{tmp_path}/trials.db", tmp_path)
    assert isinstance(storage, RDBStorage)
    study = optuna.create_study(storage=storage, study_name="s")
    study.ask()
    second = study.ask()
    beats: list[int] = []
    again, plain = Event(), RDBStorage.record_heartbeat

    def record(self: RDBStorage, kept: int) -> None:
        beats.append(kept)
        if len(beats) == 2:
            raise OSError("the database is away for a moment")
        plain(self, kept)
        if len(beats) > 2:
            again.set()

    monkeypatch.setattr(RDBStorage, "record_heartbeat", record)
    with heartbeat(storage, "s", second.number):
        assert len(beats) == 1
        assert again.wait(30), "a beat that is refused does not end the others"
    assert set(beats) == {trial_id(storage, "s", second.number)}
    assert not [thread for thread in enumerate_threads() if thread.name.startswith("heartbeat")]


def test_a_journal_keeps_no_heartbeats(tmp_path: Path) -> None:
    storage = open_storage(None, tmp_path)
    study = optuna.create_study(storage=storage, study_name="s")
    with heartbeat(storage, "s", study.ask().number):
        pass
    with pytest.raises(KeyError):
        trial_id(storage, "nowhere", 0)


def test_a_line_torn_by_a_crash_is_dropped_and_the_study_goes_on(tmp_path: Path) -> None:
    def study() -> optuna.Study:
        return optuna.create_study(study_name="s", storage=open_storage(None, tmp_path), load_if_exists=True)

    for _ in range(2):
        first = study()
        first.tell(first.ask(), 1.0)
    log = tmp_path / "trials.log"
    log.write_bytes(log.read_bytes()[:-20])
    again = study()
    states = [trial.state.name for trial in again.trials]
    assert states == ["COMPLETE", "RUNNING"], "what the torn line said is forgotten"
    again.tell(again.ask(), 2.0)
    assert len(study().trials) == 3


def test_other_damage_of_the_log_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "trials.log").write_bytes(b"{}\n" + bytes(8) + b"\n")
    with pytest.raises(UserError, match=r"trials\.log:2: not a JSON object .*delete the file"):
        open_storage(None, tmp_path)


def test_an_error_never_shows_the_password(tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        open_storage("nosuch://me:pa/s@s@host/db", tmp_path)
    assert "pa/s" not in str(raised.value) and "nosuch://me:***@host/db" in str(raised.value)
