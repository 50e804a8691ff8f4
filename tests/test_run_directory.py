"""Run directories: one writer, whole files, and histories that no kill and no full disk makes false."""

from __future__ import annotations

import errno
import math
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from records import record

from bench.atomic import write_atomic
from bench.errors import UserError
from bench.record.store import RunDirectory


def test_what_is_written_is_read(tmp_path: Path) -> None:
    ranks = pd.DataFrame({"query": [3, 5], "rank": [1, 40]})
    with RunDirectory.open(tmp_path / "new" / "runs", record().run_id) as run:
        assert not run.finished
        run.write_config({"train": {"lr": 1e-5}, "data": {"path": Path("a/b")}})
        run.write_items(ranks, "ranks.parquet")
        run.write_record(record(status="running"))
        assert not run.finished
        run.write_record(record())
    again = RunDirectory(tmp_path / "new" / "runs", record().run_id)
    assert again.finished and again.read_record() == record()
    pd.testing.assert_frame_equal(again.read_items("ranks.parquet"), ranks)
    assert (again.path / "config.yaml").read_text() == "train:\n  lr: 1.0e-05\ndata:\n  path: a/b\n"
    assert not list(again.path.glob("*.part"))


def test_a_cleared_run_is_as_new_and_still_held(tmp_path: Path) -> None:
    with RunDirectory.open(tmp_path, "r") as run:
        run.append_history({"step": 1})
        run.write_record(record(run_id="r"))
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
    write_atomic(path, b"old")
    with pytest.raises(TypeError):
        write_atomic(path, "not bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told_with_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with RunDirectory.open(tmp_path, "r") as run:
        run.write_record(record(status="running"))
        monkeypatch.setattr("bench.atomic.os.fsync", full)
        (run.path / "history.jsonl").symlink_to("/dev/full")
        with pytest.raises(UserError, match=r"cannot write .*/r/record\.json: No space left.*free some space"):
            run.write_record(record())
        with pytest.raises(UserError, match=r"cannot write .*/r/history\.jsonl: No space left"):
            run.append_history({"step": 1})
        assert run.read_record().status == "running" and not list(run.path.glob("*.part"))


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


# Histories


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
    (tmp_path / "r").mkdir()
    run = RunDirectory(tmp_path, "r")
    run.append_history({"step": 1})
    with (tmp_path / "r" / "history.jsonl").open("a") as file:
        file.write("{broken\n{}\n")
    with pytest.raises(UserError, match=r"history\.jsonl:2: "):
        run.history()


def test_the_record_of_another_run_is_not_this_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with RunDirectory.open(tmp_path, "r") as run:
        run.write_record(record(run_id="s"))
        assert not run.finished
        assert "is the record of run s" in caplog.text


def test_a_broken_record_is_told_and_not_finished(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with RunDirectory.open(tmp_path, "r") as run:
        (run.path / "record.json").write_bytes(b"")
        assert not run.finished
        assert "broken or half-written record" in caplog.text


def test_a_directory_in_the_place_of_the_record_is_told_before_anything_is_done(tmp_path: Path) -> None:
    (tmp_path / "r" / "record.json").mkdir(parents=True)
    with (
        pytest.raises(UserError, match="is a directory, where the record is written"),
        RunDirectory.open(tmp_path, "r"),
    ):
        pass
    assert not RunDirectory(tmp_path, "r").held
