"""Runs as jobs: submitted once, listed until they end, resumed after a preemption; what sbatch is given and says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep

import pytest
from tiny import bench
from tiny_runs import exact, record_of, words

from bench.commands.resources import Resources
from bench.errors import UserError
from bench.record.jobs import Job, job_of, jobs_in, keep, states
from bench.record.ledger import read
from bench.record.store import RunDirectory

LONG = {"train__max_steps": "60", "train__epochs": "99", "train__save_every": "5"}


@pytest.fixture
def local(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs are processes, which find this checkout."""
    pytest.importorskip("submitit")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))


def until(condition: object, seconds: float = 180) -> None:
    """Look again and again until the function is true."""
    deadline = monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert monotonic() < deadline
        sleep(0.05)


def state(runs: Path, job: Job) -> str:
    return states(runs, [job])[job.run_id]


def process(job: Job) -> int:
    """The process that carries out the run; the job's own id is that of the one that watches it."""
    return int(subprocess.check_output(["pgrep", "-P", job.job_id]).split()[0])


@pytest.mark.usefixtures("local")
def test_a_sweep_is_a_job_a_run_which_is_listed_until_it_ends(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    command = [*words(data, runs, seed="1,2"), "--launcher", "local"]
    assert bench(*command) == 0
    out, err = capfd.readouterr()
    jobs = jobs_in(runs)
    assert [line.split() for line in out.splitlines()] == [[job.job_id, job.run_id] for job in jobs]
    assert [job.run_id.split("-")[2] for job in jobs] == ["s1", "s2"]
    assert f"bench list runs --runs-dir {runs}" in err
    assert {state for _, state in read(runs).submitted} <= {"pending", "running"} and read(runs).awaited == 2
    assert bench("list", "runs", "--runs-dir", str(runs)) == 0
    listed = capfd.readouterr().out
    assert listed.count("pending") + listed.count("running") == 2 and jobs[0].job_id in listed

    assert bench(*command) == 0, "none is submitted twice"
    out, err = capfd.readouterr()
    assert out == "" and err.count(" already, as job ") == 2
    assert jobs_in(runs) == jobs

    until(lambda: {state(runs, job) for job in jobs} == {"ended"})
    ledger = read(runs)
    assert [record.run_id for record in ledger.records] == [job.run_id for job in jobs] and not ledger.submitted
    assert bench("list", "runs", "--runs-dir", str(runs)) == 0
    assert capfd.readouterr().out.count("finished") == 2
    assert bench(*command) == 0
    out, err = capfd.readouterr()
    assert out == "" and err.count("is finished already; --force runs it again") == 2


@pytest.mark.usefixtures("local")
def test_a_preempted_job_resumes_and_ends_as_if_it_had_not_been(data: Path, tmp_path: Path) -> None:
    runs, whole = tmp_path / "runs", tmp_path / "whole"
    assert bench(*words(data, runs, **LONG), "--launcher", "local", "--slurm", "time=600") == 0
    (job,) = jobs_in(runs)
    until(lambda: list(runs.glob("*/checkpoints/*/last.pt")))
    os.kill(process(job), signal.SIGUSR2)
    until(lambda: state(runs, job) == "ended")
    log = "".join(path.read_text() for path in (runs / "jobs" / job.run_id).glob("*_log.*"))
    assert f"Requeued job {job.job_id}" in log and "this job is preempted" in log
    assert bench(*words(data, whole, **LONG)) == 0
    one, other = (record_of(root / job.run_id) for root in (whole, runs))
    assert other.status == "finished" and exact(one) == exact(other)
    models = [(root / job.run_id / "model" / "model.safetensors").read_bytes() for root in (whole, runs)]
    assert models[0] == models[1]
    steps = [
        [json.loads(line)["step"] for line in (root / job.run_id / "history.jsonl").read_text().splitlines()]
        for root in (whole, runs)
    ]
    assert steps[0] == steps[1]


@pytest.mark.usefixtures("local")
def test_a_job_that_is_gone_is_told_and_submitted_again(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = [*words(data, tmp_path, **LONG), "--launcher", "local"]
    assert bench(*command) == 0
    (job,) = jobs_in(tmp_path)
    until(lambda: list(tmp_path.glob("*/checkpoints/*/last.pt")))
    capfd.readouterr()
    run = process(job)
    os.kill(int(job.job_id), signal.SIGKILL)
    os.kill(run, signal.SIGKILL)
    until(lambda: state(tmp_path, job) == "ended" and not RunDirectory(tmp_path, job.run_id).held)
    assert bench("list", "runs", "--runs-dir", str(tmp_path)) == 0
    assert "stopped" in capfd.readouterr().out and read(tmp_path).awaited == 0
    assert bench(*command) == 0
    (again,) = jobs_in(tmp_path)
    assert again.job_id != job.job_id
    until(lambda: state(tmp_path, again) == "ended")
    assert [record.run_id for record in read(tmp_path).records] == [job.run_id]


FAKE = {
    "srun": "",
    "sbatch": 'if grep -q "partition=nosuch" "$1"; then echo "sbatch: error: invalid partition specified: nosuch" >&2; '
    'exit 1; fi\ncp "$1" "$QUEUE/script"\necho "Submitted batch job 4711"',
    "squeue": '[ -s "$QUEUE/state" ] && echo "4711 $(cat "$QUEUE/state")" || '
    '{ echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1; }',
}


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Slurm's commands as they answer: ``script`` is what was submitted, ``state`` is what the queue says."""
    pytest.importorskip("submitit")
    place = tmp_path / "slurm"
    place.mkdir()
    for name, lines in FAKE.items():
        (place / name).write_text(f"#!/bin/sh\n{lines}\n")
        (place / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("QUEUE", str(place))
    return place


def test_slurm_gets_one_script_a_run_and_is_asked_for_its_state(
    queue: Path, data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    options = "partition=gpu,time=1-00:30:00,gpus=2,cpus=8,memory=32GB,account=lab,nodelist=a1,a2"
    command = [*words(data, runs), "--launcher", "slurm", "--slurm", options, "--slurm", "exclusive"]
    assert bench(*command) == 0
    job_id, run_id = capfd.readouterr().out.split()
    assert job_id == "4711"
    asked = {
        line.removeprefix("#SBATCH --") for line in (queue / "script").read_text().splitlines() if "SBATCH" in line
    }
    assert {
        "partition=gpu", "time=1470", "gpus-per-node=2", "cpus-per-task=8", "mem=32G", "account=lab",
        "nodelist=a1,a2", "exclusive", "requeue", f"job-name={run_id}", "signal=USR2@90",
    } <= asked  # fmt: skip
    assert not any(option.startswith("wckey") for option in asked)
    job = job_of(runs, run_id)
    assert job is not None
    for told, expected in [
        ("PENDING", "pending"), ("REQUEUED", "pending"), ("RUNNING", "running"), ("COMPLETING", "running"),
        ("CANCELLED", "ended"), ("TIMEOUT", "ended"), ("", "ended"),
    ]:  # fmt: skip
        (queue / "state").write_text(told)
        assert state(runs, job) == expected, told
    (queue / "state").write_text("PENDING")
    assert bench(*command) == 0
    assert f"{run_id} is pending already, as job 4711" in capfd.readouterr().err


def test_what_sbatch_says_against_a_job_is_told_in_one_line(
    queue: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(*words(data, tmp_path / "runs"), "--launcher", "slurm", "--slurm", "partition=nosuch") == 2
    err = capsys.readouterr().err
    assert "invalid partition specified: nosuch" in err and len(err.splitlines()) == 1
    assert jobs_in(tmp_path / "runs") == []


def test_a_queue_that_cannot_be_asked_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    keep(tmp_path, elsewhere := Job("a-b-s1-00000000", "slurm", "1", "login", "2026-11-29", "bench run"))
    keep(tmp_path, other := Job("a-b-s2-00000000", "local", "1", "no such machine", "2026-11-29", "bench run"))
    assert set(states(tmp_path, [elsewhere, other]).values()) == {"unknown"}
    (tmp_path / "jobs" / elsewhere.run_id / "job.json").write_text("{")
    ((path, why),) = read(tmp_path).skipped
    assert path.name == "jobs" and "job.json cannot be read" in why


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--slurm", "time=60"], "give --launcher slurm"),
        (["--launcher", "local", "--slurm", "partition=gpu"], "partition is for --launcher slurm"),
        (["--launcher", "local", "--slurm", "memory=32G"], "memory is for --launcher slurm"),
        (["--launcher", "local", "--slurm", "time=soon"], "time=soon is neither minutes"),
        (["--launcher", "local", "--print-config"], "without --again and --print-config"),
        (["--launcher", "local", "strategy=nosuch"], "nosuch"),
    ],
)
def test_wrong_options_are_told_in_one_line(
    given: list[str], told: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("submitit")
    assert bench(*words(data, tmp_path / "runs"), *given) == 2
    err = capsys.readouterr().err
    assert told in err and len(err.splitlines()) == 1


def test_without_submitit_or_slurm_it_is_said_what_is_missing(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "submitit", None)
        assert bench(*words(data, tmp_path), "--launcher", "slurm") == 2
        assert 'needs submitit: `pip install -e ".[slurm]"`' in capsys.readouterr().err
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert bench(*words(data, tmp_path), "--launcher", "slurm") == 2
    assert "there is no sbatch on this machine" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], Resources()),
        (["time=90"], Resources(time=90)),
        (["time=01:30:01", "gpus=0"], Resources(time=91, gpus=0)),
        (["memory=500m,cpus=4"], Resources(memory="500M", cpus=4)),
        (["nodelist=a,b,qos=low"], Resources(more={"nodelist": "a,b", "qos": "low"})),
        (["gres=gpu:a100:1,mail_type=END"], Resources(more={"gres": "gpu:a100:1", "mail-type": "END"})),
    ],
)
def test_resources_are_read(given: list[str], expected: Resources) -> None:
    assert Resources.of(given) == expected


@pytest.mark.parametrize(
    "word",
    [
        *("", "time", "time=", "time=0", "time=1:2", "gpus=-1", "gpus=two", "cpus=0", "memory=lots", "nodes=2"),
        *("array=1-9", "time=1,time=2", "qos=a,qos=b", "=x", "comment=a\nb", "2=3"),
    ],
)
def test_resources_that_are_none_are_refused(word: str) -> None:
    with pytest.raises(UserError, match="--slurm"):
        Resources.of([word])
