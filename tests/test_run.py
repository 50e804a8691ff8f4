"""Whole runs through the command line: what is left behind, resuming, repeating, and failing."""

from __future__ import annotations

import json
import math
import os
import random
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from tiny import PASSAGES, bench, words_for, write_data

from bench.data import load
from bench.progress import Display
from bench.record.record import Record

KILLED = """
import os, signal, sys
from bench.cli import main
from bench.data import load
from bench.progress import Display
def training(self, step, total, rate):
    if step == {step}:
        os.kill(os.getpid(), signal.SIGKILL)
Display.training = training
main(sys.argv[1:])
"""

Run = Callable[..., int]


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data") / "tiny")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEGBENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def words(data: Path, runs: Path, **changes: str) -> list[str]:
    """The command's words; a change is written with ``__`` for the dot, None leaves a word out."""
    settings = words_for(data, runs) | {key.replace("__", "."): word for key, word in changes.items()}
    return ["run", *(f"{key}={word}" for key, word in settings.items())]


def runs_in(root: Path) -> dict[str, Path]:
    """Run directories by id."""
    return {path.name: path for path in sorted(root.iterdir()) if path.name not in ("untrained", "again")}


def only_run(root: Path) -> Path:
    (path,) = runs_in(root).values()
    return path


def record_of(path: Path) -> Record:
    return Record.from_json((path / "record.json").read_text(), path)


def exact(record: Record) -> dict[str, Any]:
    return {name: value for name, value in record.metrics.items() if "exact/" in name}


@pytest.fixture(scope="session")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, for tests that only look."""
    root = tmp_path_factory.mktemp("finished")
    assert bench(*words(data, root, eval__split="dev", eval__recall_file="true", train__eval_every="2")) == 0
    return only_run(root)


# What a run leaves behind


def test_a_judge_tells_false_negatives_of_any_strategy_and_changes_nothing_else(data: Path, tmp_path: Path) -> None:
    told = []
    for judge in ("null", "start"):
        root = tmp_path / judge
        assert bench(*words(data, root, mining__judge=judge, eval__split="dev", eval__untrained="false")) == 0
        told.append(record_of(only_run(root)))
    plain, judged = told
    assert judged.run_id == plain.run_id
    assert judged.metrics == plain.metrics
    assert (judged.cost["texts_encoded"], judged.cost["mine_texts"]) == (plain.cost["texts_encoded"], 0)
    share = judged.training["telemetry"].pop("guide_above")
    assert 0 < share < 1
    assert judged.training["telemetry"] == plain.training["telemetry"]


def test_the_record_is_complete(finished: Path, data: Path) -> None:
    record = record_of(finished)
    assert record.run_id == finished.name
    assert (record.status, record.error, record.strategy, record.seed) == ("finished", None, "in_batch", 0)
    assert record.data["name"] == "tiny"
    assert record.data["counts"]["corpus"] == PASSAGES
    assert record.data["counts"]["train_pairs"] == 24
    assert record.encoder["name"] == "scratch"
    assert set(record.knobs) == {"scale", "margin"}
    assert record.split == "dev"
    assert record.config["train"]["max_steps"] == 4
    assert record.started <= (record.finished or "")
    said = shlex.split(record.command)
    assert said[:3] == ["bench", "run", f"data.name='{data}'"]
    assert not [word for word in said if word.startswith(("runs_dir=", "track="))]
    for name in (
        "train_s",
        "encode_s",
        "index_s",
        "search_s",
        "exact_s",
        "pairs_per_s",
        "texts_per_s",
        "peak_memory_mb",
    ):
        assert (record.cost[name] or 0) > 0, name
    assert record.cost["mine_s"] == 0
    texts = record.cost["texts_encoded"]
    assert texts is not None
    assert 4 * 8 < texts <= 2 * 4 * 8
    assert record.environment["precision"] == "fp32"
    assert record.environment["torch"] == torch.__version__
    assert {"python", "device", "cpu", "platform", "packages"} <= set(record.environment)
    assert record.selection["split"] == "dev"
    assert record.selection["step"] in (2, 4)
    assert record.selection["steps"] == 4


def test_metrics_are_of_both_searches_the_whole_and_its_parts(finished: Path) -> None:
    record = record_of(finished)
    names = ["recall@1", "recall@5", "hit@1", "hit@5", "mrr@10", "ndcg@10"]
    prefixes = ["", "exact/", "dev_hard/", "dev_hard/exact/"]
    expected = {prefix + name for prefix in prefixes for name in names}
    assert set(record.metrics) == expected
    assert record.baseline_metrics is not None
    assert set(record.baseline_metrics) == expected
    assert all(value is not None and 0 <= value <= 100 for value in record.metrics.values())


def test_the_history_has_the_losses_and_the_dev_metrics(finished: Path) -> None:
    rows = [json.loads(line) for line in (finished / "history.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "loss" in row] == [2, 4]
    dev = {row["step"]: row["dev/exact/mrr@10"] for row in rows if "dev/exact/mrr@10" in row}
    assert set(dev) == {2, 4}
    record = record_of(finished)
    assert record.selection["value"] == max(dev.values())
    assert record.metrics["exact/mrr@10"] == pytest.approx(max(dev.values()))  # the same queries and corpus


def test_the_ranks_have_one_row_a_query_and_add_up_to_the_metrics(finished: Path) -> None:
    ranks = pd.read_parquet(finished / "ranks.parquet")
    assert len(ranks) == 8
    assert ranks["query"].is_unique
    first = [math.inf if pd.isna(rank) else int(rank) for rank in ranks["exact/rank"]]
    metrics = record_of(finished).metrics
    assert metrics["exact/hit@5"] == pytest.approx(100 * sum(rank <= 5 for rank in first) / 8)
    assert metrics["exact/mrr@10"] == pytest.approx(100 * sum(1 / rank for rank in first if rank <= 10) / 8)


def test_the_recall_file_has_the_retrieved_passages(finished: Path) -> None:
    lines = (finished / "recall_result.txt").read_text().splitlines()
    assert len(lines) == 8 * 20
    assert {line.count("\t") for line in lines} == {2}


def test_nothing_of_an_unfinished_run_stays(finished: Path) -> None:
    assert not (finished / "checkpoints").exists()
    assert not list(finished.rglob("*.part"))
    assert (finished / "config.yaml").exists()


def test_the_model_is_an_encoder_again(finished: Path, data: Path, tmp_path: Path) -> None:
    again = words(data, tmp_path, encoder=f"'{finished / 'model'}'", eval__split="dev", train__max_steps="0")
    assert bench(*again) == 0
    got = exact(record_of(only_run(tmp_path)))
    assert got == pytest.approx(exact(record_of(finished)))


# Once, again, from there


def test_a_finished_run_is_skipped_and_force_repeats_it(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(*words(data, tmp_path)) == 0
    record = only_run(tmp_path) / "record.json"
    before = record.stat().st_mtime_ns
    assert bench(*words(data, tmp_path)) == 0
    assert record.stat().st_mtime_ns == before
    assert "is finished already" in capsys.readouterr().err
    first = record_of(record.parent)
    assert bench(*words(data, tmp_path), "--force") == 0
    assert record.stat().st_mtime_ns != before
    assert record_of(record.parent).metrics == first.metrics


def test_again_repeats_beside_and_says_that_it_is_equal(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(*words(data, tmp_path)) == 0
    first = only_run(tmp_path)
    assert bench("run", "--again", first.name, f"runs_dir='{tmp_path}'") == 0
    assert "are equal to the recorded ones" in " ".join(capsys.readouterr().out.split())
    assert exact(record_of(only_run(tmp_path / "again"))) == exact(record_of(first))

    tampered = json.loads((first / "record.json").read_text())
    tampered["metrics"]["exact/recall@1"] = -1.0
    (first / "record.json").write_text(json.dumps(tampered))
    assert bench("run", "--again", first.name, f"runs_dir='{tmp_path}'") == 1
    assert "NOT equal" in capsys.readouterr().out


def test_again_refuses_what_it_cannot_repeat(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = write_data(tmp_path / "own")
    root = tmp_path / "runs"
    assert bench(*words(own, root, train__max_steps="0")) == 0
    name = only_run(root).name
    here = f"runs_dir='{root}'"
    assert bench("run", "--again", name, here, "seed=2") == 2
    assert "not seed" in capsys.readouterr().err
    assert bench("run", "--again", "in_batch-none-s0-00000000", here) == 2
    assert "no record of" in capsys.readouterr().err
    with (own / "corpus.tsv").open("a") as file:
        file.write("one more passage\n")
    assert bench("run", "--again", name, here) == 2
    assert "the data has changed" in capsys.readouterr().err
    assert not (root / "again").exists()


def test_the_untrained_row_is_computed_once(data: Path, tmp_path: Path) -> None:
    assert bench(*words(data, tmp_path, strategy="mnr")) == 0
    (kept,) = (tmp_path / "untrained").iterdir()
    marked = json.loads(kept.read_text()) | {"recall@1": 12.5}
    kept.write_text(json.dumps(marked))
    assert bench(*words(data, tmp_path, strategy="hardest_neg")) == 0
    assert [path.name for path in (tmp_path / "untrained").iterdir()] == [kept.name]
    shown = {record_of(path).strategy: record_of(path).baseline_metrics for path in runs_in(tmp_path).values()}
    assert shown["hardest_neg"] == marked


def test_no_steps_leave_the_encoder_untrained(data: Path, tmp_path: Path) -> None:
    assert bench(*words(data, tmp_path, train__max_steps="0")) == 0
    record = record_of(only_run(tmp_path))
    assert record.metrics == record.baseline_metrics
    assert record.selection["steps"] == 0
    assert record.cost["texts_encoded"] == 0


def test_where_there_is_no_test_split_dev_is_reported(tmp_path: Path) -> None:
    data = write_data(tmp_path / "no test")
    (data / "test.tsv").unlink()
    assert bench(*words(data, tmp_path / "runs", train__max_steps="0")) == 0
    assert record_of(only_run(tmp_path / "runs")).split == "dev"


def test_training_goes_on_from_the_weights_of_a_run(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(*words(data, tmp_path)) == 0
    first = only_run(tmp_path)
    assert bench(*words(data, tmp_path, strategy="hardest_neg", train__init_from=first.name)) == 0
    (second,) = (path for path in runs_in(tmp_path).values() if path != first)
    before = record_of(second).baseline_metrics
    assert before is not None
    assert {k: before[k] for k in exact(record_of(first))} == pytest.approx(exact(record_of(first)))
    assert bench("run", "--again", second.name, f"runs_dir='{tmp_path}'") == 0
    assert bench(*words(data, tmp_path, encoder="minilm-l3", train__init_from=first.name)) == 2
    assert "give the same encoder" in capsys.readouterr().err


# Killed, interrupted, failed


@pytest.mark.parametrize("step", random.Random(0).sample(range(1, 7), 2))
def test_a_killed_run_ends_as_if_it_had_not_been(step: int, data: Path, tmp_path: Path) -> None:
    changes = {"train__max_steps": "6", "train__save_every": "2", "train__eval_every": "3"}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    command = words(data, killed, **changes)
    done = subprocess.run([sys.executable, "-c", KILLED.format(step=step), *command], capture_output=True, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (only_run(killed) / "record.json").exists()
    assert bench(*command) == 0
    assert bench(*words(data, whole, **changes)) == 0
    one, other = only_run(whole), only_run(killed)
    assert one.name == other.name
    expected, got = (load_file(path / "model" / "model.safetensors") for path in (one, other))
    assert expected.keys() == got.keys()
    assert all(torch.equal(expected[name], got[name]) for name in expected)
    assert exact(record_of(other)) == exact(record_of(one))
    assert [json.loads(line)["step"] for line in (other / "history.jsonl").read_text().splitlines()] == [
        json.loads(line)["step"] for line in (one / "history.jsonl").read_text().splitlines()
    ]


STAGED = {
    "strategy": "simcse_ibn",
    "strategy__simcse__texts": "corpus",
    "train__stage_steps": "[3,4]",
    "train__max_steps": "null",
    "train__save_every": "2",
    "train__eval_every": "2",
}


@pytest.mark.parametrize("step", [2, 3, 5, 6])
def test_a_run_killed_in_any_stage_ends_as_if_it_had_not_been(step: int, data: Path, tmp_path: Path) -> None:
    assert bench(*words(data, tmp_path / "whole", **STAGED)) == 0
    command = words(data, tmp_path / "killed", **STAGED)
    done = subprocess.run([sys.executable, "-c", KILLED.format(step=step), *command], capture_output=True, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert bench(*command) == 0
    whole, resumed = only_run(tmp_path / "whole"), only_run(tmp_path / "killed")
    assert weights_of(whole) == weights_of(resumed)
    assert events_of(whole) == events_of(resumed)
    one, two = record_of(whole), record_of(resumed)
    assert exact(one) == exact(two) and one.training == two.training
    assert one.cost["texts_encoded"] == two.cost["texts_encoded"]
    assert one.selection == two.selection and one.selection["steps"] == 7


def weights_of(run: Path) -> bytes:
    return (run / "model" / "model.safetensors").read_bytes()


def events_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]


def test_the_stages_of_a_run_are_told_apart(data: Path, tmp_path: Path) -> None:
    assert bench(*words(data, tmp_path, **STAGED)) == 0
    record = record_of(only_run(tmp_path))
    assert {name.partition("/")[0] for name in record.training["telemetry"]} == {"simcse", "in_batch"}
    assert record.knobs["simcse.texts"] == "corpus" and record.knobs["in_batch.margin"] == 0.2
    steps = [event["step"] for event in events_of(only_run(tmp_path)) if "loss" in event]
    assert steps == sorted(steps) and steps[-1] == 7


def test_any_chain_runs_and_is_repeated(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes = {"strategy__mined_hard__n": "2", "strategy__mined_hard__first": "0", "strategy__mined_hard__last": "20"}
    given = [word for word in words(data, tmp_path, **changes) if not word.startswith("strategy=")]
    assert bench(*given, "stages=mnr,mined_hard") == 0
    run = only_run(tmp_path)
    assert record_of(run).strategy == "mnr+mined_hard"
    assert (record_of(run).cost["mine_s"] or 0) > 0
    assert bench("run", "--again", run.name, f"runs_dir='{tmp_path}'") == 0
    assert "are equal" in capsys.readouterr().out


def test_what_mining_cost_is_in_the_record(data: Path, tmp_path: Path) -> None:
    mining = {"strategy": "ance", "strategy__refresh": "2", "strategy__last": "20"}
    assert bench(*words(data, tmp_path, **mining)) == 0
    cost = record_of(only_run(tmp_path)).cost
    assert cost["mine_texts"] == 2 * (24 + PASSAGES), "two searches, each by all training queries and passages"
    assert (cost["texts_encoded"] or 0) > cost["mine_texts"] and (cost["mine_s"] or 0) > 0


def test_what_the_data_cannot_give_is_told_before_training(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(*words(data, tmp_path, strategy="provided_hard")) == 2
    assert "strategy provided_hard: data set tiny gives no negatives" in capsys.readouterr().err
    assert not runs_in(tmp_path) if tmp_path.exists() else True


def test_few_retrieved_passages_choose_the_weights_too(data: Path, tmp_path: Path) -> None:
    assert bench(*words(data, tmp_path, eval__retrieve="5", eval__ks="[1,5]")) == 0
    assert record_of(only_run(tmp_path)).selection["metric"] == "exact/mrr@5"


def at_step(monkeypatch: pytest.MonkeyPatch, step: int, act: Callable[[], None]) -> None:
    """Do ``act`` when training has come to ``step``."""

    def training(self: Display, now: int, total: int, rate: float) -> None:
        if now == step:
            act()

    monkeypatch.setattr(Display, "training", training)


def test_an_interruption_is_one_line_and_status_130(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        at_step(patch, 3, lambda: os.kill(os.getpid(), signal.SIGINT))
        assert bench(*words(data, tmp_path, train__save_every="1")) == 130
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("bench:")]
    assert told == ["bench: interrupted; the same command goes on from the last checkpoint"]
    assert not (only_run(tmp_path) / "record.json").exists()
    assert bench(*words(data, tmp_path, train__save_every="1")) == 0
    assert record_of(only_run(tmp_path)).status == "finished"


def test_a_failed_run_says_so_and_can_be_run_again(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_memory() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    with monkeypatch.context() as patch:
        at_step(patch, 2, no_memory)
        assert bench(*words(data, tmp_path)) == 2
    assert "train.micro_batch" in capsys.readouterr().err
    record = record_of(only_run(tmp_path))
    assert record.status == "failed"
    assert "ran out of memory" in (record.error or "")
    assert record.metrics == {}
    assert bench(*words(data, tmp_path)) == 0
    assert record_of(only_run(tmp_path)).status == "finished"


def test_a_loss_that_is_not_finite_fails_the_run(data: Path, tmp_path: Path) -> None:
    assert bench(*words(data, tmp_path, train__lr="1e30")) == 2
    record = record_of(only_run(tmp_path))
    assert record.status == "failed"
    assert "lower train.lr" in (record.error or "")


# Sweeps


def test_a_sweep_reads_its_data_once_and_a_failure_does_not_stop_it(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = []
    monkeypatch.setattr("bench.data.load", lambda config: loaded.append(config) or load(config))
    sweep = words(
        data, tmp_path, strategy="hardest_neg,in_batch", train__lr="1e30,1e-3", seed="1", eval__untrained="false"
    )
    assert bench(*sweep) == 2
    out, err = capsys.readouterr()
    assert len(loaded) == 1
    failed = [line for line in err.splitlines() if line.startswith("bench:")]
    assert len(failed) == 2
    assert all("train.lr=1e+30" in line for line in failed)
    paths = [Path(line) for line in out.splitlines() if line.startswith(str(tmp_path))]
    assert [record_of(path).strategy for path in paths] == ["hardest_neg", "in_batch"]
    states = sorted((record_of(path).strategy, record_of(path).status) for path in runs_in(tmp_path).values())
    assert states == [(s, state) for s in ("hardest_neg", "in_batch") for state in ("failed", "finished")]


def test_every_run_of_a_sweep_is_checked_before_any_is_run(data: Path, tmp_path: Path) -> None:
    assert bench(*words(data, tmp_path, strategy="mnr,hardest_neg", strategy__scale="20")) == 2
    assert not list(tmp_path.iterdir())


# Small and odd data


def test_a_batch_may_be_larger_than_the_data(data: Path, tmp_path: Path) -> None:
    assert bench(*words(data, tmp_path, train__batch_size="1000", train__max_steps="2")) == 0
    assert record_of(only_run(tmp_path)).selection["steps"] == 2


def test_data_without_a_train_split_is_for_evaluation_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_data(tmp_path / "data")
    (data / "train.tsv").unlink()
    assert bench(*words(data, tmp_path / "runs")) == 2
    assert "train.max_steps=0" in capsys.readouterr().err
    assert bench(*words(data, tmp_path / "runs", train__max_steps="0")) == 0
