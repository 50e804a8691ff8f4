"""The cores that this process computes on: one number, which training, encoding, mining and search agree on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_asked: int = 0


def use(threads: int) -> int:
    """Compute with so many threads from now on, 0 being as many as :func:`available`; how many that are.

    It is for the start of a program: numbers of threads that libraries have for themselves are set, too.
    """
    global _asked
    import torch

    _asked = threads
    torch.set_num_threads(count())
    os.environ.setdefault("RAYON_NUM_THREADS", str(count()))  # of the tokenizers, read when they first use it
    return count()


def count() -> int:
    """The number of threads that large work is shared out among."""
    return _asked or available()


def available() -> int:
    """The cores this process may use: those of its affinity, as far as its control group's quota goes, and no more
    than ``OMP_NUM_THREADS``."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if limit.isdecimal() and int(limit):
        cores = min(cores, int(limit))
    return max(1, min(cores, _quota()))


@contextmanager
def limited(threads: int, get: Callable[[], int], put: Callable[[int], None]) -> Iterator[None]:
    """A library's number of threads set to ``threads`` by ``put`` and restored afterwards."""
    before = get()
    put(threads)
    try:
        yield
    finally:
        put(before)


def _quota() -> int:
    """The whole cores of the tightest CPU quota of this process's control groups; a large number without one."""
    most = 2**16
    for folder in _folders():
        for spent, period in _limits(folder):
            if spent > 0:
                most = min(most, max(1, spent // period))
    return most


def _folders() -> list[Path]:
    """The folders of this process's control groups and of all groups around them, version 2 and version 1."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        number, controllers, group = line.split(":", 2)
        if number == "0" or "cpu" in controllers.split(","):
            root = _GROUPS if number == "0" else _GROUPS / "cpu"
            place = root / group.lstrip("/")
            found += [folder for folder in (place, *place.parents) if folder.is_relative_to(root)]
    return found


def _limits(folder: Path) -> list[tuple[int, int]]:
    """(quota, period) in microseconds that a folder states; a quota that is not a number is no limit."""
    try:
        if (both := folder / "cpu.max").is_file():
            spent, period = both.read_text().split()
        else:
            spent, period = ((folder / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
        return [(int(spent), int(period))]
    except (OSError, ValueError):
        return []
