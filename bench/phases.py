"""Seconds and peak memory of the phases of a run."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import perf_counter

try:
    import resource
except ImportError:  # Windows has no such module
    resource = None  # type: ignore[assignment]

_before: dict[str, float] = {}  # by device: the peak of the phases that have ended, in MB


@contextmanager
def phase(name: str, cost: dict[str, float], device: str = "cpu") -> Iterator[None]:
    """Write the seconds of the block to ``cost`` as ``NAME_s``, and its peak memory in MB as ``NAME_mb``.

    Memory is as in :func:`peak_memory_mb`. Where the kernel cannot reset it (anything but Linux), it is the peak up to
    the end of the block. Phases do not nest.
    """
    _before[device] = max(_before.get(device, 0.0), _peak(device) or 0.0)
    _reset(device)
    start = perf_counter()
    yield
    cost[f"{name}_s"] = perf_counter() - start
    if (peak := _peak(device)) is not None:
        cost[f"{name}_mb"] = peak


def peak_memory_mb(device: str) -> float | None:
    """Most memory held since :func:`reset_peak_memory`, in MB of 2**20 bytes.

    On CUDA what torch allocated on the device; otherwise this process's resident memory, files that are mapped into
    memory included, None where the platform does not say.
    """
    peak = _peak(device)
    return None if peak is None else max(peak, _before.get(device, 0.0))


def reset_peak_memory(device: str) -> None:
    """Reset the measurement, so that a run in a study does not include the memory of earlier runs.

    Where the kernel cannot (anything but Linux), the peak stays that of the process since it began.
    """
    _before.pop(device, None)
    _reset(device)


def _peak(device: str) -> float | None:
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:
        found = None
    if found:
        return int(found[1]) / 2**10
    if resource is None:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # bytes on macOS, KiB elsewhere


def _reset(device: str) -> None:
    if device.startswith("cuda"):
        import torch

        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
