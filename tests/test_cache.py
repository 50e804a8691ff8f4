"""The one cache: entries are whole or made again, made once, and no process or disk can corrupt them."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.atomic import explain_write_errors
from bench.cache import Cache, Entry
from bench.errors import UserError

VALUES = np.arange(6, dtype=np.float32)


def make(place: Path) -> Mapping[str, Any]:
    np.save(place / "values.npy", VALUES)
    return {"seconds": 1.5}


def whole(entry: Entry) -> bool:
    return np.array_equal(entry.array("values"), VALUES) and entry.facts == {"seconds": 1.5}


def forbidden(place: Path) -> Mapping[str, Any]:
    raise AssertionError("it is there already")


def test_an_entry_is_made_once_and_mapped(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    assert cache.find("a-1") is None
    assert whole(cache.entry("a-1", make))
    again = cache.entry("a-1", forbidden)
    assert whole(again) and isinstance(again.array("values"), np.memmap)
    cache.remove("a-1")
    assert cache.find("a-1") is None


def test_a_damaged_entry_is_made_again_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever byte of any file changes, wherever it is cut, and also when all of it is zero."""
    cache = Cache(tmp_path)
    place = cache.entry("a-1", make).path
    for file in sorted(place.iterdir()):
        content = file.read_bytes()
        flipped = [content[:i] + bytes([content[i] ^ 1 << i % 8]) + content[i + 1 :] for i in range(len(content))]
        cut = [content[:end] for end in range(len(content))]
        for damaged in [*flipped[::3], *cut[::5], bytes(len(content)), b"", content + b"more"]:
            file.unlink()  # it may be mapped
            file.write_bytes(damaged)
            caplog.clear()
            if (found := cache.find("a-1")) is not None:  # a space in JSON: still what was told
                assert file.name == "entry.json" and whole(found)
                continue
            assert whole(cache.entry("a-1", make))
            assert caplog.text.count("is damaged and is made again") == 1


@pytest.mark.parametrize(
    "kind", ["file", "link to nothing", "link to a file", "empty directory", "no array", "no facts"]
)
def test_whatever_lies_in_an_entry_s_place_is_made_again(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache, place = Cache(tmp_path), tmp_path / "a-1"
    if kind == "file":
        place.write_text("x")
    elif kind.startswith("link"):
        (tmp_path / "elsewhere").write_text("not ours")
        place.symlink_to(tmp_path / ("nowhere" if kind == "link to nothing" else "elsewhere"))
    else:
        place.mkdir()
        if kind != "empty directory":
            (place / "entry.json").write_text(json.dumps({"facts": {}, "files": {}} if kind == "no array" else {}))
    assert whole(cache.entry("a-1", make))
    assert caplog.text.count("is damaged and is made again") == 1
    assert kind != "link to a file" or (tmp_path / "elsewhere").read_text() == "not ours"


def test_an_entry_stays_readable_while_another_process_makes_it_again(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    mapped = cache.entry("a-1", make).array("values")
    shutil.rmtree(tmp_path / "a-1")
    assert whole(cache.entry("a-1", make))
    assert np.array_equal(mapped, VALUES)


def test_a_maker_that_fails_or_was_killed_leaves_nothing(tmp_path: Path) -> None:
    def fail(place: Path) -> Mapping[str, Any]:
        (place / "half").write_bytes(b"x")
        raise ZeroDivisionError

    cache = Cache(tmp_path)
    with pytest.raises(ZeroDivisionError):
        cache.entry("a-1", fail)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]
    (tmp_path / ".a-1.killed").mkdir()
    assert whole(cache.entry("a-1", make))
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["a-1"]


def test_a_place_that_cannot_be_written_is_told_and_done_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    cache = Cache(tmp_path / "file" / "below")
    with caplog.at_level(logging.WARNING):
        assert whole(cache.entry("unwritable-1", make))
    assert whole(cache.entry("unwritable-1", forbidden)), "for this process it is kept"
    assert whole(cache.entry("unwritable-2", make))
    assert caplog.text.count("NEGBENCH_CACHE") == 1, "told once"
    with pytest.raises(UserError, match="cannot write"):
        Cache(tmp_path / "file" / "below", required=True).entry("a-2", make)


TOGETHER = """
import sys, time
from pathlib import Path
import numpy as np
from bench.cache import Cache
def make(place):
    print("made", flush=True)
    with (place / "values.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (100,)})
        for number in range(100):
            file.write(np.float32(number).tobytes())
            file.flush()
            time.sleep(0.01)
    return {}
print(Cache(Path(sys.argv[1])).entry("pool-1", make).array("values").sum())
"""


def test_two_processes_started_together_make_it_once_and_both_have_it_whole(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TOGETHER, str(tmp_path)]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]) for _ in range(2)
    ]
    told = [process.communicate(timeout=60)[0].split() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert [words[-1] for words in told] == ["4950.0", "4950.0"]
    assert sum("made" in words for words in told) == 1


def test_a_closed_pipe_while_an_entry_is_made_is_no_fault_of_the_disk(tmp_path: Path) -> None:
    tried = []

    def closed(place: Path) -> Mapping[str, Any]:
        tried.append(place)
        raise BrokenPipeError("stdout closed")

    with pytest.raises(BrokenPipeError):
        Cache(tmp_path).entry("a-1", closed)
    assert len(tried) == 1


def test_looking_makes_no_temporary_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert Cache(tmp_path / "cache").find("a-1") is None
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")
def test_numpy_s_message_of_a_full_disk_is_explained() -> None:
    full = Path("/dev/full")
    with (
        pytest.raises(UserError, match="No space left on device; free some space"),
        explain_write_errors(full),
        full.open("wb") as file,
    ):
        np.ones(1 << 16).tofile(file)
