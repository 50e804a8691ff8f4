"""Atomic writes: a file is whole or absent, whenever the process dies; failures become clear messages."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from safetensors import SafetensorError

from bench.errors import UserError

_REMEDY = {
    errno.ENOSPC: "free some space or choose another directory",
    errno.EDQUOT: "free some space or choose another directory",
    errno.EROFS: "choose a directory that can be written",
    errno.EACCES: "choose a directory that can be written",
    errno.EPERM: "choose a directory that can be written",
}


def write_atomic(path: Path, content: bytes | memoryview) -> None:
    """Write a file that is either the old or the new one, whole. Raises :class:`UserError` naming it."""
    with explain_write_errors(path), atomic_file(path) as file:
        file.write(content)


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A file to be written that takes the place of ``path`` when the block ends well, whoever else writes it meanwhile.

    Raises ``OSError`` when the disk refuses.
    """
    part = path.with_name(f"{path.name}.{uuid4().hex[:8]}.part")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextmanager
def atomic_directory(path: Path, otherwise: str = "") -> Iterator[Path]:
    """A directory to be filled that becomes ``path`` when the block ends well.

    Raises :class:`UserError` when there is a file, or a directory with anything in it, and when the disk refuses.
    ``otherwise`` ends the message about such a directory, with what else may be done.
    """
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} is a file; give another --out")
    if path.exists() and any(path.iterdir()):
        raise UserError(f"{path} is not empty; give another --out{otherwise}")
    part = path.resolve().with_name(f".{path.resolve().name}.{uuid4().hex[:8]}.part")
    with explain_write_errors(path):
        part.mkdir(parents=True)
    try:
        yield part
        with explain_write_errors(path):
            part.replace(path)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


@contextmanager
def explain_write_errors(path: Path) -> Iterator[None]:
    """Turn an operating system's error on writing ``path`` into a :class:`UserError` with place, reason and remedy."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        number = _number(error)
        reason = os.strerror(number) if number else str(error)
        remedy = _REMEDY.get(number or 0, "check this path")
        raise UserError(f"cannot write {path}: {reason}; {remedy}") from error


def _number(error: OSError | SafetensorError) -> int | None:
    """The operating system's error number; safetensors gives it only in its message, and NumPy only that it is full."""
    if isinstance(error, OSError):
        return errno.ENOSPC if error.errno is None and "requested and" in str(error) else error.errno
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found[1]) if found else None
