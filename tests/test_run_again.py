"""Runs beside others: done once, repeated, gone on from, and in sweeps."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from tiny import bench, write_data
from tiny_runs import exact, only_run, record_of, runs_in, words

from bench import api
from bench.data import load
from bench.errors import UserError


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
    tampered["metrics"]["exact/recall@1"] = 99.5
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


def test_the_untrained_row_is_computed_once_for_what_is_measured(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEGBENCH_CACHE", str(tmp_path / "cache"))
    for changes in ({"strategy": "mnr"}, {"strategy": "hardest_neg"}, {"strategy": "mnr", "eval__ks": "[1,10]"}):
        assert bench(*words(data, tmp_path / "runs", **changes)) == 0
    records = [record_of(path) for path in runs_in(tmp_path / "runs").values()]
    assert len(list((tmp_path / "cache").glob("baseline-*"))) == 2, "other cut-offs are another row"
    for record in records:
        assert record.baseline_metrics is not None
        assert record.baseline_metrics.keys() == record.metrics.keys()
    first, second = (r.baseline_metrics for r in records if "recall@5" in r.metrics)
    assert first == second


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


def test_a_run_keeps_its_weights_unless_told_not_to(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(*words(data, tmp_path, keep="none")) == 0
    first = only_run(tmp_path)
    assert not (first / "model").exists() and record_of(first).status == "finished"
    assert bench(*words(data, tmp_path)) == 0
    assert "is finished already without its weights; --force" in capsys.readouterr().err
    assert bench(*words(data, tmp_path, strategy="mnr", train__init_from=first.name)) == 2
    told = capsys.readouterr().err
    assert f"train.init_from={first.name}: {first} kept no weights" in told
    with pytest.raises(UserError, match="kept no weights"):
        api.embed(["a text"], first)
    again = shlex.split(told.split("`")[1])  # the command that the message gives
    assert again[0] == "bench" and again[-1] == "--force"
    assert bench(*again[1:], "track=none") == 0
    assert (first / "model" / "model.safetensors").exists()


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
    assert bench(*words(data, tmp_path, strategy="mnr,queue", train__max_steps="3")) == 2, "a queue that never acts"
    assert not list(tmp_path.iterdir())


def test_runs_of_a_sweep_that_do_not_fit_their_data_fail_before_any_is_run(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("bench.run.lifecycle.describe_hub", asked.append)
    (empty := tmp_path / "empty").mkdir()
    sweep = words(data, tmp_path / "runs", strategy="in_batch,simcse", seed="1,2")
    assert bench(*(f"data={data},{empty}" if word.startswith("data=") else word for word in sweep)) == 2
    lines = capsys.readouterr().err.splitlines()
    failed = [number for number, line in enumerate(lines) if line.startswith("bench:")]
    assert len(failed) == 6 and failed[-1] < min(number for number, line in enumerate(lines) if "recall@1" in line)
    assert sum("has no unlabelled texts" in line for line in lines) == 2
    assert sum("of 2 done" in line for line in lines) == 2
    assert len(runs_in(tmp_path / "runs")) == 2
    assert len(asked) == 2, "the hub is asked once for each run that starts"


def test_an_encoder_that_is_not_there_leaves_no_record(data: Path, tmp_path: Path) -> None:
    assert bench(*words(data, tmp_path, encoder="nope")) == 2
    assert not list(tmp_path.glob("*/record.json"))


def test_a_forced_run_that_cannot_start_leaves_the_finished_one(data: Path, tmp_path: Path) -> None:
    import shutil

    root, encoder = tmp_path / "runs", tmp_path / "encoder"
    assert bench(*words(data, root)) == 0
    shutil.copytree(only_run(root) / "model", encoder)
    shutil.rmtree(only_run(root))
    assert bench(*words(data, root, encoder=str(encoder))) == 0
    finished = only_run(root)
    shutil.rmtree(encoder)
    assert bench(*words(data, root, encoder=str(encoder)), "--force") == 2
    assert record_of(finished).status == "finished"
