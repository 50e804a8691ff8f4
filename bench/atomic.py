"""Writing files that are whole or absent, whenever the process dies, and saying why a disk refuses."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
    part = path.with_name(path.name + ".part")
    with explain_write_errors(path):
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)


@contextmanager
def explain_write_errors(path: Path) -> Iterator[None]:
    """Tell an operating system's refusal to write ``path`` as a :class:`UserError`: what, where, what to do."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        number = error.errno if isinstance(error, OSError) else _number(error)
        reason = os.strerror(number) if number else str(error)
        remedy = _REMEDY.get(number or 0, "check this path")
        raise UserError(f"cannot write {path}: {reason}; {remedy}") from error


def _number(error: SafetensorError) -> int | None:
    """The operating system's error number, which safetensors tells only in words."""
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found[1]) if found else None
