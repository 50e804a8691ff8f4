"""A run that another process is at: the others go on, it is waited for, and it counts once."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from filelock import FileLock
from tiny import bench
from tiny_runs import exact, record_of, runs_in, words

from bench.record.store import RunDirectory, RunLocked

SWEEP = {"strategy": "in_batch,mnr", "seed": "1,2"}


@pytest.fixture(scope="module")
def alone(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sweep of a process that is alone."""
    root = tmp_path_factory.mktemp("alone")
    assert bench(*words(data, root, **SWEEP)) == 0
    return root


@contextmanager
def held(path: Path, end: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Another holder of the run at ``path``, who ends it by ``end`` as soon as somebody waits."""
    path.mkdir(parents=True)
    lock = FileLock(path / ".lock")

    class Waited(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "another process; waiting" in record.getMessage():
                end()
                lock.release()

    handler, logger = Waited(), logging.getLogger("bench.record.store")
    logger.addHandler(handler)
    try:
        with lock:
            yield
    finally:
        logger.removeHandler(handler)


def lines(text: str) -> list[str]:
    return [line.split(":")[0] for line in text.splitlines() if "seed" in line and "done" in line]


@pytest.mark.parametrize("finishes", [True, False], ids=["it finishes", "it dies"])
def test_a_sweep_does_its_other_runs_first_and_ends_with_the_same_table(
    finishes: bool, alone: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = min(path for path in runs_in(alone) if path.startswith("in_batch") and "-s1-" in path)

    def end() -> None:
        if finishes:
            shutil.copytree(alone / first, tmp_path / first, dirs_exist_ok=True, ignore=lambda *_: {".lock"})

    with held(tmp_path / first, end):
        assert bench(*words(data, tmp_path, **SWEEP)) == 0
    out, err = capsys.readouterr()
    order = ["in_batch seed 2", "mnr seed 1", "mnr seed 2"]
    assert lines(err) == (order if finishes else [*order, "in_batch seed 1"])
    assert [Path(line).name for line in out.splitlines() if line.startswith(str(tmp_path))] == sorted(
        runs_in(alone), key=lambda name: (name.partition("-")[0], name.split("-")[2])
    )
    assert {name: exact(record_of(path)) for name, path in runs_in(tmp_path).items()} == {
        name: exact(record_of(path)) for name, path in runs_in(alone).items()
    }


def test_a_single_run_waits_and_then_shows_the_record(
    alone: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    first = next(iter(runs_in(alone)))
    with held(tmp_path / first, lambda: shutil.copy(alone / first / "record.json", tmp_path / first)):
        assert bench(*words(data, tmp_path, strategy="in_batch", seed="1")) == 0
    assert f"{first} is being run by another process; waiting" in caplog.text
    assert str(tmp_path / first) in capsys.readouterr().out


def test_who_does_not_wait_is_told(tmp_path: Path) -> None:
    with (
        held(tmp_path / "a"),
        pytest.raises(RunLocked, match="another process is writing this run"),
        RunDirectory.open(tmp_path, "a"),
    ):
        raise AssertionError("it is not ours")
