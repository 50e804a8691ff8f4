"""Runs whose cache is damaged, full or cannot be written: the same result as with a whole one, and one line."""

from __future__ import annotations

import errno
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny import bench
from tiny_runs import exact, only_run, record_of, words

from bench.record.record import Metrics

DAMAGED = "is damaged and is made again"
MINED = {"strategy": "mined_hard", "strategy__first": "1", "strategy__last": "30", "strategy__n": "4"}
Result = tuple[dict[str, Any], Metrics | None]


def result(runs: Path) -> Result:
    """What a run measured after and before training."""
    record = record_of(only_run(runs))
    return exact(record), record.baseline_metrics


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A cache with tokens, vectors, a mined pool and a baseline, and the result of the run that made it."""
    place = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEGBENCH_CACHE", str(place / "cache"))
        assert bench(*words(data, place / "runs", **MINED)) == 0
    kinds = {path.name.partition("-")[0] for path in (place / "cache").iterdir() if path.is_dir()}
    assert kinds == {"tokens", "vectors", "pool", "baseline"}
    return place / "cache", result(place / "runs")


def zeros(entry: Path) -> None:
    """The bodies are zero, as after a crash of the machine."""
    for file in entry.iterdir():
        content = file.read_bytes()
        file.write_bytes(content[:128] + bytes(len(content) - 128) if file.suffix == ".npy" else bytes(len(content)))


def empty(entry: Path) -> None:
    for file in list(entry.glob("*.npy")) or [entry / "entry.json"]:
        file.write_bytes(b"")


def torn(entry: Path) -> None:
    (entry / "entry.json").write_bytes((entry / "entry.json").read_bytes()[:-7])


def another_number(entry: Path) -> None:
    """A digit of a fact differs: a metric of a baseline, the cost of vectors."""
    told = json.loads((entry / "entry.json").read_text())
    told["facts"] = {"metrics": {"exact/recall@1": 99.0}, "seconds": 1e9, "texts": 7}
    (entry / "entry.json").write_text(json.dumps(told))


def a_file(entry: Path) -> None:
    shutil.rmtree(entry)
    entry.write_text("not an entry")


@pytest.mark.parametrize("damage", [zeros, empty, torn, another_number, a_file])
def test_every_damaged_entry_is_told_and_made_again_with_the_same_result(
    damage: Callable[[Path], None],
    whole: tuple[Path, Result],
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    cache, expected = whole
    shutil.copytree(cache, tmp_path / "cache")
    entries = [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]
    for entry in entries:
        damage(entry)
    monkeypatch.setenv("NEGBENCH_CACHE", str(tmp_path / "cache"))
    assert bench(*words(data, tmp_path / "runs", **MINED)) == 0
    assert result(tmp_path / "runs") == expected
    told = [line for line in caplog.messages if DAMAGED in line]
    assert len(told) == len(set(told)) == len(entries)
    caplog.clear()
    assert bench(*words(data, tmp_path / "again", **MINED)) == 0
    assert result(tmp_path / "again") == expected
    assert DAMAGED not in caplog.text


def refuse(monkeypatch: pytest.MonkeyPatch, number: int, *places: Path) -> None:
    """Let the disk refuse new directories below ``places``."""
    plain = tempfile.mkdtemp

    def mkdtemp(suffix: str | None = None, prefix: str | None = None, dir: Any = None) -> str:
        if any(Path(dir or tempfile.gettempdir()).is_relative_to(place) for place in places):
            raise OSError(number, "refused")
        return plain(suffix, prefix, dir)

    monkeypatch.setattr(tempfile, "mkdtemp", mkdtemp)
    monkeypatch.setattr("bench.cache._own", {})
    monkeypatch.setenv("NEGBENCH_CACHE", str(places[0]))


@pytest.mark.parametrize(
    "changes",
    [MINED, {"strategy": "ance", "strategy__last": "30", "strategy__refresh": "2"}, {}],
    ids=["mined_hard", "ance", "in_batch"],
)
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_run_does_without_a_cache_that_refuses(
    number: int,
    changes: dict[str, str],
    whole: tuple[Path, Result],
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    refuse(monkeypatch, number, tmp_path / "cache")
    assert bench(*words(data, tmp_path / "runs", **changes)) == 0
    assert caplog.text.count("set NEGBENCH_CACHE to a writable folder") == 1
    if changes is MINED:
        assert result(tmp_path / "runs") == whole[1]


def test_a_disk_that_refuses_everywhere_is_one_message(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refuse(monkeypatch, errno.ENOSPC, tmp_path / "cache", Path(tempfile.gettempdir()))
    assert bench(*words(data, tmp_path / "runs", **MINED)) == 2
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("bench:")]
    assert len(told) == 1 and "No space left on device; free some space" in told[0]
