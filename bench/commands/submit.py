"""``bench run --launcher slurm``: a job for each run, none for a run that is finished or has a job already."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr
from functools import lru_cache
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from bench.atomic import explain_write_errors
from bench.commands.output import show_logs
from bench.commands.resources import Resources
from bench.errors import UserError, install
from bench.record.jobs import JOBS, Job, Launcher, folder, job_of, keep, states
from bench.record.store import RunDirectory

if TYPE_CHECKING:
    from submitit.core.core import Executor


def submit_all(overrides: Sequence[str], launcher: Launcher, options: Sequence[str], force: bool = False) -> None:
    """Submit a job for each run of the overrides, and print its id and the run's.

    Settings and data are checked here, before anything is submitted. ``force`` deletes what a finished run has left,
    and submits it. Raises :class:`UserError` for what the person can mend.
    """
    show_logs()
    resources = Resources.of(options)
    _check(launcher, resources)
    from bench.config.overrides import command_line, expand, resolve
    from bench.data import load
    from bench.run.lifecycle import directory_of
    from bench.train.processes import asked_for

    if asked_for() > 1:
        raise UserError("--launcher submits jobs; start it once, without torchrun")
    load_once = lru_cache(maxsize=1)(load)
    runs = [(words, directory_of(resolve(words), load_once)) for words in expand(overrides)]
    roots = {run.root for _, run in runs}
    for words, run in runs:
        with _alone(run.root):
            if why := _reason_against(run, force):
                print(f"{run.run_id} {why}", file=sys.stderr)
                continue
            if force:
                _clear(run)
            job = _submit(words, run, launcher, resources, command_line(words))
        print(f"{job.job_id} {job.run_id}")
    for root in sorted(roots):
        place = "" if root == Path("runs") else f" --runs-dir {shlex.quote(str(root))}"
        print(f"bench list runs{place} shows what has become of them", file=sys.stderr)


def _check(launcher: Launcher, resources: Resources) -> None:
    """Raise :class:`UserError` where this launcher is not to be had, or cannot give what is asked for."""
    try:
        import submitit
    except ImportError:
        raise UserError(f"--launcher {launcher} needs submitit: {install('slurm')}") from None
    logging.getLogger(submitit.__name__).setLevel(logging.ERROR)
    if launcher == "local":
        refused = [*resources.more, *(key for key in ("cpus", "memory") if getattr(resources, key) is not None)]
        if refused:
            raise UserError(f"--slurm {refused[0]} is for --launcher slurm; local takes time, requeues and gpus")
    elif missing := next((name for name in ("sbatch", "srun") if shutil.which(name) is None), None):
        raise UserError(f"there is no {missing} on this machine; submit where Slurm is, or try --launcher local")


def _alone(root: Path) -> FileLock:
    """The lock under which one command at a time looks for a run's job and submits one."""
    with explain_write_errors(root / JOBS):
        (root / JOBS).mkdir(parents=True, exist_ok=True)
    return FileLock(root / JOBS / ".lock")


def _reason_against(run: RunDirectory, force: bool) -> str | None:
    """Why no job is submitted for a run, if there is a reason."""
    if (job := job_of(run.root, run.run_id)) is not None:
        state = states(run.root, [job])[run.run_id]
        if state in ("pending", "running"):
            return f"is {state} already, as job {job.job_id}"
        if state == "unknown" and not run.finished:
            file = folder(run.root, run.run_id) / "job.json"
            return f"has job {job.job_id}, whose queue cannot be asked from here; if it is gone, delete {file}"
    if run.held:
        return "is carried out by a process already"
    if run.finished and not force:
        return "is finished already; --force runs it again"
    return None


def _clear(run: RunDirectory) -> None:
    """Delete what the run has left, so that its job, however often it is requeued, need not know that it is forced."""
    with RunDirectory.open(run.root, run.run_id) as held:
        held.clear()


def _submit(words: Sequence[str], run: RunDirectory, launcher: Launcher, resources: Resources, command: str) -> Job:
    """Submit one run, and write down its job. Raises :class:`UserError` with what the cluster says against it."""
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    from bench.commands.job import RunJob
    from bench.record.record import now

    place = folder(run.root, run.run_id).resolve()
    with explain_write_errors(place):
        place.mkdir(parents=True, exist_ok=True)
    try:
        with redirect_stderr(StringIO()):  # sbatch's words are told below
            submitted = _executor(launcher, place, resources, run.run_id).submit(RunJob(tuple(words), str(Path.cwd())))
    except (FailedJobError, FailedSubmissionError, ValueError, RuntimeError) as error:
        said = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        raise UserError(f"{run.run_id} was not submitted: {next((w for w in said if 'error' in w), said[0])}") from None
    job = Job(run.run_id, launcher, str(submitted.job_id), os.uname().nodename, now(), command)
    keep(run.root, job)
    return job


def _executor(launcher: Launcher, place: Path, resources: Resources, name: str) -> Executor:
    """What submits, with the resources asked for. Without ``gpus`` a local job sees no GPU."""
    import submitit

    if launcher == "local":
        local = submitit.LocalExecutor(folder=place, max_num_timeout=resources.requeues)
        local.update_parameters(timeout_min=resources.time, gpus_per_node=resources.gpus or 0)
        return local
    slurm = submitit.SlurmExecutor(folder=place, max_num_timeout=resources.requeues)
    given = {"gpus_per_node": resources.gpus, "cpus_per_task": resources.cpus, "mem": resources.memory}
    slurm.update_parameters(
        time=resources.time,
        job_name=name,
        wckey=None,  # submitit's own, which some clusters refuse
        additional_parameters={"requeue": True, **resources.more},
        **{key: value for key, value in given.items() if value is not None},
    )
    return slurm
