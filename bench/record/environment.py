"""The environment of a run, and its peak memory."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

try:
    import resource
except ImportError:  # Windows has no such module
    resource = None  # type: ignore[assignment]

from bench import cores

PACKAGES = (
    "torch",
    "transformers",
    "safetensors",
    "hnswlib",
    "numpy",
    "pandas",
    "faiss-cpu",
    "faiss-gpu",
    "usearch",
    "wandb",
)
CHECKOUT = Path(__file__).parents[2]


def environment(device: str) -> dict[str, Any]:
    """Python, torch, device, CPU, threads, platform, git commit and package versions, for the record."""
    import torch

    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else device
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": name,
        "cpu": cpu_model(),
        "threads": cores.count(),
        "platform": platform.platform(),
        "git": git_commit(CHECKOUT),
        "packages": {package: found for package in PACKAGES if (found := _version(package))},
    }


def cpu_model() -> str:
    """The processor's name as the kernel gives it."""
    try:
        info = Path("/proc/cpuinfo").read_text()
    except OSError:
        info = ""
    found = re.search(r"^model name\s*:\s*(.+)$", info, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def git_commit(checkout: Path) -> str | None:
    """The commit of a checkout, with ``+dirty`` when tracked files differ; None where there is none."""
    # An installed package may lie inside some other project's checkout: that commit would be a false witness.
    if not (checkout / ".git").exists():
        return None
    command = [
        "git",
        "-C",
        str(checkout),
        "describe",
        "--always",
        "--exclude=*",
        "--abbrev=40",
        "--dirty=+dirty",
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def peak_memory_mb(device: str) -> float | None:
    """Most memory held since :func:`reset_peak_memory`, in MB of 2**20 bytes.

    On CUDA what torch allocated on the device; otherwise this process's resident memory, None where the platform
    does not say.
    """
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


def reset_peak_memory(device: str) -> None:
    """Reset the measurement, so that a run in a study does not include the memory of earlier runs.

    Where the kernel cannot (anything but Linux), the peak stays that of the process since it began.
    """
    if device.startswith("cuda"):
        import torch

        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
