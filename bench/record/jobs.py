"""Runs that were handed to a cluster: which job carries out which run, and what has become of the job."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from bench.atomic import explain_write_errors, write_atomic
from bench.errors import UserError
from bench.record.store import RunDirectory

JOBS = "jobs"  # in the directory of all runs: for each run what was submitted, and what the job said
Launcher = Literal["slurm", "local"]
State = Literal["pending", "running", "ended", "unknown"]
"""``pending`` waits in the queue, also after a preemption; ``ended`` is in no queue any more, however it ended;
``unknown`` is the state of a job whose queue cannot be asked from here."""

_WAITING = ("PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "CONFIGURING", "RESV_DEL_HOLD")
_GONE = (
    "COMPLETED",
    "CANCELLED",
    "FAILED",
    "TIMEOUT",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "DEADLINE",
    "BOOT_FAIL",
    "REVOKED",
)
_PATIENCE_S = 30


@dataclass(frozen=True)
class Job:
    """Job ``job_id`` of a ``launcher`` has the run ``run_id``; ``host`` is the machine that it was submitted from."""

    run_id: str
    launcher: Launcher
    job_id: str
    host: str
    submitted: str
    command: str


def folder(runs_dir: Path, run_id: str) -> Path:
    """Where the job of a run keeps what was submitted and its output."""
    return runs_dir / JOBS / run_id


def log_of(runs_dir: Path, job: Job) -> Path:
    """What the job wrote on standard error, which is where a run speaks."""
    return folder(runs_dir, job.run_id) / f"{job.job_id}_0_log.err"


def keep(runs_dir: Path, job: Job) -> None:
    """Write down which job has a run, in place of an earlier one. Raises :class:`UserError` when it cannot."""
    place = folder(runs_dir, job.run_id)
    with explain_write_errors(place):
        place.mkdir(parents=True, exist_ok=True)
    write_atomic(place / "job.json", (json.dumps(asdict(job), indent=1) + "\n").encode())


def job_of(runs_dir: Path, run_id: str) -> Job | None:
    """The latest job of a run, if there was one. Raises :class:`UserError` when its file is damaged."""
    path = folder(runs_dir, run_id) / "job.json"
    try:
        found = json.loads(path.read_bytes())
        job = Job(**found)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} cannot be read ({error}); delete it, and the job it named is forgotten") from None
    if job.run_id != run_id or not all(isinstance(value, str) for value in found.values()):
        raise UserError(f"{path} is not of run {run_id}; delete it, and the job it named is forgotten")
    return job


def jobs_in(runs_dir: Path) -> list[Job]:
    """The latest job of every run that was submitted, in order of the runs' ids."""
    runs = sorted(path.parent.name for path in (runs_dir / JOBS).glob("*/job.json"))
    return [job for run_id in runs if (job := job_of(runs_dir, run_id)) is not None]


def states(runs_dir: Path, jobs: Iterable[Job]) -> dict[str, State]:
    """What has become of each of the jobs, by the id of its run. Slurm is asked once for all of its jobs."""
    jobs = list(jobs)
    queued = _queued([job.job_id for job in jobs if job.launcher == "slurm"])
    return {
        job.run_id: _local(runs_dir, job)
        if job.launcher == "local"
        else "unknown"
        if queued is None
        else queued.get(job.job_id, "ended")
        for job in jobs
    }


def _queued(ids: list[str]) -> dict[str, State] | None:
    """The jobs among ``ids`` that Slurm's queue still has; None where it cannot be asked.

    The queue forgets a job minutes after its end, and needs no accounting database, unlike ``sacct``.
    """
    if not ids:
        return {}
    if shutil.which("squeue") is None:
        return None
    ask = ["squeue", "--all", "--noheader", "--states=all", "--format=%i %T", f"--jobs={','.join(ids)}"]
    try:
        done = subprocess.run(ask, capture_output=True, text=True, timeout=_PATIENCE_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode != 0 and "Invalid job id" not in done.stderr:  # so it says where it has forgotten the only one
        return None
    found: dict[str, State] = {}
    for line in done.stdout.splitlines():
        job_id, _, state = line.strip().partition(" ")
        found[job_id] = "pending" if state in _WAITING else "ended" if state in _GONE else "running"
    return found


def _local(runs_dir: Path, job: Job) -> State:
    """Of a job on this machine: its process starts at once, and is pending until it has taken the run."""
    if job.host != os.uname().nodename:
        return "unknown"
    if not _alive(job):
        return "ended"
    return "running" if RunDirectory(runs_dir, job.run_id).held else "pending"


def _alive(job: Job) -> bool:
    """Whether the process of a local job is there, and is no other one that has got its number."""
    if Path("/proc/self").exists():
        try:
            words = Path("/proc", job.job_id, "cmdline").read_text(errors="replace")
        except OSError:
            return False
    else:
        words = subprocess.run(["ps", "-p", job.job_id, "-o", "command="], capture_output=True, text=True).stdout
    return "submitit" in words and job.run_id in words
