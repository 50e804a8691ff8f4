"""The environment of a run."""

from __future__ import annotations

import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

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


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
