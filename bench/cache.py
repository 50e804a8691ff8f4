"""The cache of artefacts that several runs share: each is made once, by one process, and atomically.

An entry is a directory of files, named by a hash of everything that its content depends on. It is written under a lock
beside its final place and then renamed, with the size and a checksum of every file. A kill therefore leaves nothing
half-written, a second process waits, and a damaged entry is made again.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from bench.atomic import explain_write_errors
from bench.setting import place_named

log = logging.getLogger(__name__)

_SUMS = "entry.json"
_BLOCK = 1 << 22
_PATIENCE_S = 1.0  # seconds before a message says that another process is making the entry


def cache_dir() -> Path | None:
    """``$NEGBENCH_CACHE``, else ``$XDG_CACHE_HOME/negbench``, else ``~/.cache/negbench``; it may not exist yet.

    None for a user without a home directory, as in a container that runs under a bare user number.
    """
    if own := os.environ.get("NEGBENCH_CACHE"):
        return place_named(own)
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared) / "negbench"
    home = place_named("~")
    return home / ".cache" / "negbench" if home.is_absolute() else None


@dataclass(frozen=True)
class Entry:
    """A whole, checked entry: files in the directory ``path``, and ``facts`` from its maker."""

    path: Path
    facts: Mapping[str, Any]

    def array(self, name: str) -> NDArray[Any]:
        """The array in ``NAME.npy``, mapped into memory."""
        found: NDArray[Any] = np.load(self.path / f"{name}.npy", mmap_mode="r")
        return found


Make = Callable[[Path], Mapping[str, Any]]
"""Writes an entry's files into an empty directory and returns facts about them, as plain JSON values."""


@dataclass(frozen=True)
class Cache:
    """The entries under ``root``. If that is None or not writable, entries are kept until the process ends.

    With ``required`` a root that is not writable is an error instead.
    """

    root: Path | None
    required: bool = False

    def entry(self, name: str, make: Make) -> Entry:
        """The entry ``name`` (a kind, and a hash of all that it depends on), made by ``make`` if it is missing.

        Raises :class:`UserError` when the disk refuses to keep it anywhere.
        """
        if (found := self.find(name)) is not None:
            return found
        if self.root is not None:
            try:
                return _made(self.root / name, make)
            except ConnectionError:
                raise  # a closed pipe on the way, which the disk has nothing to do with
            except OSError as error:
                if self.required:
                    with explain_write_errors(self.root / name):
                        raise
                _tell_once(self.root, error)
        place = _temporary() / name
        with explain_write_errors(place):
            return _made(place, make)

    def find(self, name: str) -> Entry | None:
        """The entry ``name``, or None if it is missing or damaged."""
        roots = [self.root, _own.get(os.getpid())]
        return next((found for root in roots if root and (found := _read(root / name))), None)

    def remove(self, name: str) -> None:
        """Remove an entry, if it exists."""
        if self.root is not None:
            shutil.rmtree(self.root / name, ignore_errors=True)


def _made(place: Path, make: Make) -> Entry:
    """Make an entry under its lock, unless another process made it in the meantime."""
    place.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(place.parent / f".{place.name}.lock")
    try:
        lock.acquire(timeout=_PATIENCE_S)
    except Timeout:
        log.info("waiting for another process, which is making %s", place.name)
        lock.acquire()
    try:
        if (found := _read(place)) is not None:  # the other process has made it
            return found
        if os.path.lexists(place):
            log.warning("%s is damaged and is made again", place)
            _remove(place)
        for left in place.parent.glob(f".{place.name}.*/"):  # of a maker that was killed
            shutil.rmtree(left, ignore_errors=True)
        return _write(place, make)
    finally:
        lock.release()


def _write(place: Path, make: Make) -> Entry:
    beside = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name}."))
    try:
        facts = dict(make(beside))
        files = sorted(file for file in beside.rglob("*") if file.is_file())
        sums = {file.relative_to(beside).as_posix(): _sum(file) for file in files}
        (beside / _SUMS).write_text(json.dumps({"facts": facts, "files": sums, "checksum": _told(facts, sums)}))
        beside.chmod(0o755)  # a temporary directory is for its owner alone, a cache may be shared
        beside.replace(place)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    return Entry(place, facts)


def _read(place: Path) -> Entry | None:
    """The entry, or None if there is none or if its files have changed since it was made."""
    try:
        told = json.loads((place / _SUMS).read_bytes())
        facts, files = told["facts"], told["files"]
        whole = told["checksum"] == _told(facts, files)
        if whole and all(_sum(place / name) == known for name, known in files.items()):
            return Entry(place, facts)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        pass
    return None


def _sum(file: Path) -> list[int]:
    """Size in bytes and CRC-32 of a file."""
    size = checksum = 0
    with file.open("rb") as opened:
        while block := opened.read(_BLOCK):
            size, checksum = size + len(block), zlib.crc32(block, checksum)
    return [size, checksum]


def _told(facts: Mapping[str, Any], files: Mapping[str, Any]) -> int:
    """CRC-32 of what an entry says of itself."""
    return zlib.crc32(json.dumps([facts, files], sort_keys=True).encode())


def _remove(place: Path) -> None:
    """Remove what lies at an entry's place: a directory, or what somebody put there instead."""
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink()


_refused: set[Path] = set()  # places that could not be written, each told once


def _tell_once(root: Path, error: OSError) -> None:
    if root not in _refused:
        _refused.add(root)
        log.warning("cannot cache in %s (%s); set NEGBENCH_CACHE to a writable folder", root, error)


_own: dict[int, Path] = {}  # the temporary directory of each process; a forked one has another


def _temporary() -> Path:
    """A directory that is removed when this process ends."""
    process = os.getpid()
    if process not in _own:
        with explain_write_errors(Path(tempfile.gettempdir())):
            _own[process] = Path(tempfile.mkdtemp(prefix="negbench-"))
        atexit.register(shutil.rmtree, _own[process], ignore_errors=True)
    return _own[process]
