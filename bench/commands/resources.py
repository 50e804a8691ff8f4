"""``--slurm KEY=VALUE,...``: what a job asks the cluster for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.errors import UserError, shown

_TIME = re.compile(r"(?:(?P<minutes>\d+)|(?:(?P<days>\d+)-)?(?P<h>\d+):(?P<m>[0-5]\d):(?P<s>[0-5]\d))", re.ASCII)
_MEMORY = re.compile(r"(\d+)([KMGT])B?", re.ASCII | re.IGNORECASE)
_WORD = re.compile(r"[a-z][a-z0-9_-]*", re.ASCII)
_SET = (
    "array",
    "error",
    "nodes",
    "ntasks",
    "open-mode",
    "output",
    "parsable",
    "requeue",
    "signal",
    "test-only",
    "wrap",
)
"""Options of sbatch that the launcher decides: a job is one process that carries out one run."""


@dataclass(frozen=True)
class Resources:
    """``time`` in minutes until a job is requeued, ``requeues`` how often that may be; ``gpus``, ``cpus`` and
    ``memory`` (such as ``32G``) of the job, the cluster's defaults where None; ``more`` are other options of sbatch.
    """

    time: int = 60
    requeues: int = 10
    gpus: int | None = None
    cpus: int | None = None
    memory: str | None = None
    more: dict[str, str | bool] = field(default_factory=dict)

    @classmethod
    def of(cls, given: Sequence[str]) -> Resources:
        """From words like ``partition=gpu,time=60``; a comma separates only where ``KEY=`` follows.

        A word without ``=`` is an option of sbatch that takes no value, such as ``exclusive``. Raises
        :class:`UserError` for a word that is none, one that is given twice, and a value of another kind.
        """
        found: dict[str, Any] = {}
        more: dict[str, str | bool] = {}
        for word in (word for several in given for word in re.split(r",(?=[a-z][a-z0-9_-]*=)", several)):
            key, assigned, value = word.partition("=")
            key = key.replace("_", "-")
            if not _WORD.fullmatch(key) or (assigned and not value) or not value.isprintable():
                raise UserError(f"--slurm {shown(word)} is no KEY=VALUE, such as partition=gpu or time=60")
            if key in found or key in more:
                raise UserError(f"--slurm {key} is given twice; the second time as {shown(word)}")
            if key in _SET:
                raise UserError(f"--slurm {key} is set by the launcher, which makes each run one job of one process")
            if key in ("time", "requeues", "gpus", "cpus", "memory"):
                found[key] = _kinds[key](key, value)
            else:
                more[key] = value if assigned else True
        return cls(**found, more=more)


def _count(key: str, value: str) -> int:
    if not (value.isascii() and value.isdigit()) or (int(value) == 0 and key == "cpus"):
        raise UserError(f"--slurm {key}={value} is no whole number")
    return int(value)


def _minutes(key: str, value: str) -> int:
    match = _TIME.fullmatch(value)
    if match is None:
        raise UserError(f"--slurm {key}={value} is neither minutes (90) nor HH:MM:SS nor DAYS-HH:MM:SS")
    days, hours, minutes, seconds = (int(match[part] or 0) for part in ("days", "h", "m", "s"))
    total = int(match["minutes"] or 0) + (days * 24 + hours) * 60 + minutes + (seconds > 0)
    if total == 0:
        raise UserError(f"--slurm {key}={value} leaves no time; give minutes")
    return total


def _memory(key: str, value: str) -> str:
    match = _MEMORY.fullmatch(value)
    if match is None:
        raise UserError(f"--slurm {key}={value} is no memory such as 32G or 500M")
    return match[1] + match[2].upper()


_kinds = {"time": _minutes, "requeues": _count, "gpus": _count, "cpus": _count, "memory": _memory}
