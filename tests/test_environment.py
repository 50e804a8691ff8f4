"""What a record tells of the machine: its parts, the commit, and the peak of its memory."""

from __future__ import annotations

import importlib
import json
import mmap
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.phases import peak_memory_mb, phase, reset_peak_memory
from bench.record.environment import environment, git_commit


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
    assert low <= high + 1  # the kernel counts pages for each processor, and adds them up now and then
    if sys.platform == "linux" and low < high:  # where the kernel lets the peak be reset
        with mmap.mmap(-1, 50 * 2**20) as again:  # new pages: an array may find room that was freed before
            np.frombuffer(again, dtype=np.uint8)[:] = 1
            assert peak_memory_mb("cpu") >= low + 40


def test_a_platform_without_resource_only_lacks_the_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    import bench.phases as module

    monkeypatch.setitem(sys.modules, "resource", None)  # as where there is no such module
    monkeypatch.setattr(Path, "read_text", lambda self, *args, **kwargs: (_ for _ in ()).throw(OSError(self)))
    try:
        importlib.reload(module)
        assert module.peak_memory_mb("cpu") is None
    finally:
        monkeypatch.undo()
        importlib.reload(module)


def test_phases_have_a_peak_each_and_the_run_has_that_of_all() -> None:
    cost: dict[str, float] = {}
    reset_peak_memory("cpu")
    with phase("large", cost), mmap.mmap(-1, 50 * 2**20) as held:
        np.frombuffer(held, dtype=np.uint8)[:] = 1
    with phase("small", cost):
        pass
    assert set(cost) == {"large_s", "large_mb", "small_s", "small_mb"} and cost["large_s"] > 0
    assert peak_memory_mb("cpu") >= cost["large_mb"] - 1
    if sys.platform == "linux":
        assert cost["large_mb"] >= cost["small_mb"] + 40
