"""Ranks that are processes: they train as one device does, a killed one ends the others, and a resume is exact."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
import torch
from tiny import bench, words_for, write_data
from toys import Training

from bench.train import processes
from bench.world import World
from strategies import Strategy, find, registered

STEPS, LR = 6, 1e-3
CALM = {"roformer_sim": ("simbert", "distil")}  # noise is drawn by each rank


def calm(name: str) -> Strategy:
    """The strategy without what each rank draws for itself."""
    if name not in CALM:
        return find(name)()
    kind = registered()[name]
    stages = dict(zip(CALM[name], kind().stages(), strict=True))
    return kind(**{part: type(stage)(noise=0.0) for part, stage in stages.items()})


def trained(name: str, world: World, place: Path, micro_batch: int | None = None) -> dict[str, torch.Tensor]:
    """The weights after some steps, and the losses on the way."""
    training = Training(
        calm(name), directory=place, dropout=0.0, epochs=9, max_steps=STEPS, lr=LR, micro_batch=micro_batch
    )
    training.fit(world=world)
    losses = torch.tensor([row["loss"] for row in training.events]) if world.first else torch.zeros(0)
    return {**{k: v.clone() for k, v in training.encoder.state_dict().items()}, "losses": losses}


CASES = [*((name, None) for name in registered()), ("mnr", 4), ("softmax_nli", 4), ("simbert", 4)]


def rank_of_two(place: str) -> None:
    """What each of the two processes does: train every strategy and keep what came of it."""
    torch.set_num_threads(1)
    world = processes.join()
    found = {f"{name} {micro}": trained(name, world, Path(place) / f"{name}-{micro}", micro) for name, micro in CASES}
    torch.save(found, Path(place) / f"rank-{world.rank}.pt")
    processes.leave()


def started(code: str, ranks: int = 2, **more: Any) -> list[subprocess.Popen[bytes]]:
    """Processes that know of each other."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    told = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(ranks), "OMP_NUM_THREADS": "1"}
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parent.parent)])
    return [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, **told, "PYTHONPATH": path, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            **more,
        )
        for rank in range(ranks)
    ]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, torch.Tensor]]]:
    """What two processes made of every strategy, by rank."""
    place = tmp_path_factory.mktemp("ranks")
    ranks = started(f"from test_processes import rank_of_two; rank_of_two({str(place)!r})")
    assert [rank.wait(240) for rank in ranks] == [0, 0]
    return [torch.load(place / f"rank-{rank}.pt") for rank in (0, 1)]


@pytest.mark.parametrize(("name", "micro"), CASES)
def test_two_processes_train_as_one_device(
    name: str, micro: int | None, both: list[dict[str, dict[str, torch.Tensor]]], tmp_path: Path
) -> None:
    alone = trained(name, World(), tmp_path, micro)
    first, second = (rank[f"{name} {micro}"] for rank in both)
    losses = alone.pop("losses")
    torch.testing.assert_close(first.pop("losses"), losses, rtol=2e-3, atol=2e-4)
    second.pop("losses")
    for key, value in alone.items():
        assert torch.equal(first[key], second[key]), f"ranks differ in {key}"
        # Adam divides by the size of a gradient: where it is all rounding, a step has any sign.
        close = (first[key] - value).abs() <= 0.05 * STEPS * LR
        assert close.float().mean() > 0.999, key
        torch.testing.assert_close(first[key], value, rtol=0, atol=2 * STEPS * LR)


def words(data: Path, runs: Path, **more: str) -> list[str]:
    return [f"{key}={value}" for key, value in (words_for(data, runs) | {"encoder": "scratch"} | more).items()]


def record_of(runs: Path) -> dict[str, Any]:
    (found,) = runs.glob("*/record.json")
    record: dict[str, Any] = json.loads(found.read_text())
    return record


def model_of(runs: Path) -> bytes:
    (found,) = runs.glob("*/model/model.safetensors")
    return found.read_bytes()


def test_one_command_trains_on_two_devices_and_a_resume_is_exact(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = write_data(tmp_path / "data")
    more = {"train.max_steps": "40", "train.epochs": "99", "train.save_every": "5", "devices": "2"}
    assert bench("run", *words(data, tmp_path / "whole", **more)) == 0
    record = record_of(tmp_path / "whole")
    assert record["status"] == "finished" and record["config"]["devices"] == 2 and "devices=2" in record["command"]
    assert capfd.readouterr().out.count("in_batch-data") == 1, "one process speaks"
    assert bench("run", *words(data, tmp_path / "whole", **more)) == 0
    assert "is finished already" in capfd.readouterr().err

    given = words(data, tmp_path / "killed", **more)
    started = subprocess.Popen(
        [sys.executable, "-m", "bench", "run", *given], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = monotonic() + 120
    while not list((tmp_path / "killed").glob("*/checkpoints/*/last.pt")) and monotonic() < deadline:
        sleep(0.02)
    victim = [int(line) for line in subprocess.check_output(["pgrep", "-P", str(started.pid)]).split()][1]
    os.kill(victim, signal.SIGKILL)
    since = monotonic()
    _, told = started.communicate(timeout=60)
    assert started.returncode == 2 and monotonic() - since < 30
    assert told.count("was killed") == 1 and "the same command goes on" in told and "Traceback" not in told
    assert bench("run", *given) == 0
    assert model_of(tmp_path / "killed") == model_of(tmp_path / "whole")
    ours, theirs = (record_of(tmp_path / place)["metrics"] for place in ("killed", "whole"))
    assert ours == theirs


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_ranks_end_with_the_process_that_started_them(number: signal.Signals, tmp_path: Path) -> None:
    """As where a scheduler or ``timeout`` ends that process alone."""
    data = write_data(tmp_path / "data")
    more = {"train.max_steps": "100000", "train.epochs": "99999", "train.save_every": "5", "devices": "2"}
    started = subprocess.Popen(
        [sys.executable, "-m", "bench", "run", *words(data, tmp_path / "runs", **more)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = monotonic() + 120
    while not list((tmp_path / "runs").glob("*/checkpoints/*/last.pt")) and monotonic() < deadline:
        sleep(0.02)
    ranks = [int(line) for line in subprocess.check_output(["pgrep", "-P", str(started.pid)]).split()]
    os.kill(started.pid, number)
    _, told = started.communicate(timeout=30)  # until the ranks, which have the same pipe, have closed it
    assert len(ranks) == 2 and told.count("the process that started this run is gone") == 1
    while any(Path(f"/proc/{rank}").exists() for rank in ranks) and monotonic() < deadline:
        sleep(0.02)
    assert not any(Path(f"/proc/{rank}").exists() for rank in ranks)


def test_processes_encode_and_mine_as_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_data(tmp_path / "data")
    more = {"strategy": "ance", "strategy.last": "30", "strategy.refresh": "2"}
    records, caches = [], []
    for place, devices in ((tmp_path / "alone", "1"), (tmp_path / "two", "2")):
        monkeypatch.setenv("NEGBENCH_CACHE", str(place / "cache"))
        assert bench("run", *words(data, place, devices=devices, **more)) == 0
        records.append(record_of(place))
        caches.append(sorted(path.name for path in (place / "cache").iterdir()))
    alone, two = records
    assert two["config"]["devices"] == 2 and caches[0] == caches[1], "each entry is kept once"
    assert alone["baseline_metrics"] == two["baseline_metrics"]
    assert alone["cost"]["mine_texts"] == two["cost"]["mine_texts"] > 0


def test_an_error_of_a_run_is_told_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = write_data(tmp_path / "data")
    assert bench("run", *words(data, tmp_path / "runs", devices="2", encoder="nowhere")) == 2
    told = capfd.readouterr().err
    assert told.count("encoder=nowhere") == 1 and "Traceback" not in told


def test_torchrun_s_processes_are_one_run(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    call = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "bench", "run"]
    done = subprocess.run(
        [*call, *words(data, tmp_path / "runs")], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert record_of(tmp_path / "runs")["config"]["devices"] == 2


def test_numbers_that_do_not_go_together_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench("run", "devices=1,2") == 2
    assert "is a sweep; give one number" in capsys.readouterr().err
    assert bench("run", "devices=0") == 2
    assert "devices=0 must be at least 1" in capsys.readouterr().err
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert bench("run", "devices=3") == 2
    assert "devices=3, but 2 processes were started" in capsys.readouterr().err


def test_uneven_parts_are_gathered_whole() -> None:
    code = (
        "import torch; from bench.train import processes; w = processes.join();"
        "own = torch.arange(3 * w.rank, dtype=torch.int64).view(-1, 1) + 10 * w.rank;"
        "found = torch.cat(w.gather(own)).flatten().tolist(); assert found == [10, 11, 12], found;"
        "mask = torch.tensor([True] * (w.rank + 1)); assert [len(p) for p in w.gather(mask)] == [1, 2];"
        "assert w.gather(mask)[1].dtype == torch.bool;"
        "assert w.sum(torch.tensor(w.rank + 1)).item() == 3; assert w.broadcast({'a': w.rank}) == {'a': 0};"
        "processes.leave()"
    )
    assert [rank.wait(120) for rank in started(code)] == [0, 0]
