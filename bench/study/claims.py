"""Who is at which trial, among the processes that share a study's directory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from bench.atomic import explain_write_errors


class Claims:
    """One lock a trial, which the kernel releases when its process ends, in any way."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._mine: dict[str, FileLock] = {}

    @contextmanager
    def deciding(self) -> Iterator[None]:
        """One process at a time looks what is free and takes it."""
        with explain_write_errors(self._directory):
            self._directory.mkdir(parents=True, exist_ok=True)
        with FileLock(self._directory / ".lock", poll_interval=0.01):
            yield

    def take(self, name: str) -> bool:
        """Take a trial; False when a process, this one included, is at it."""
        lock = FileLock(self._directory / name)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        self._mine[name] = lock
        return True

    def give_back(self, name: str) -> None:
        """Let others have the trial; one that was not taken is left alone."""
        lock = self._mine.pop(name, None)
        if lock is not None:
            with self.deciding():
                (self._directory / name).unlink(missing_ok=True)
                lock.release()
