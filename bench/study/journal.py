"""A journal of trials on a file system that several machines share, such as NFS, with a lock that works there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

from bench.atomic import explain_write_errors
from bench.errors import UserError

SCHEME = "journal://"
GRACE_S = 30  # a lock that nobody has used for so long is of a dead process, and is broken
_BLOCK = 2**16


class SharedLock:
    """Optuna's lock by a symbolic link, which NFS makes for one process only; it drops a line that a kill has cut.

    Whoever has the lock adds whole lines, so a file that ends without a line end was left by a process that died.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = JournalFileSymlinkLock(str(path), grace_period=GRACE_S)

    def acquire(self) -> bool:
        """Wait until nobody else holds the lock, and take it."""
        self._lock.acquire()
        try:
            drop_torn_line(self._path)
        except BaseException:
            self._lock.release()
            raise
        return True

    def release(self) -> None:
        """Let others have it."""
        self._lock.release()


def drop_torn_line(path: Path) -> None:
    """Cut the file after its last line end; only the end of it is read."""
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        start = end
        while start > 0:
            upto, start = start, max(0, start - _BLOCK)
            file.seek(start)
            if (found := file.read(upto - start).rfind(b"\n")) >= 0:
                start += found + 1
                break
        if start < end:
            file.truncate(start)


def open_journal(url: str) -> JournalStorage:
    """The journal ``journal:///DIRECTORY/FILE``, made where there is none; its directory must be there.

    Raises :class:`UserError` for another form, and when the file is damaged or cannot be written.
    """
    name = url.removeprefix(SCHEME)
    path = Path(name).expanduser().resolve()  # whole, because the link of the lock is read from its own directory
    if not name or name.endswith("/") or "?" in name or path.is_dir():
        raise UserError(f"storage={url} names no file; a journal is journal:///DIRECTORY/FILE.log")
    if not path.parent.is_dir():
        raise UserError(f"storage={url}: there is no directory {path.parent}; make it where all machines see it")
    with explain_write_errors(path):
        lock: Any = SharedLock(path)  # Optuna's own base class has a private name
        backend = JournalFileBackend(str(path), lock)
        lock.acquire()  # and a line that a kill has cut is gone
        lock.release()
        try:
            return JournalStorage(backend)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path} is no journal of trials ({error}); give another file") from error
