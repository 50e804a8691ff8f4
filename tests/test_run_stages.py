"""Runs of several stages: distinguished, repeated, and killed in any of them."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny import bench
from tiny_runs import KILLED, exact, only_run, record_of, runs_in, words

STAGED = {
    "strategy": "simcse_ibn",
    "strategy__simcse__texts": "corpus",
    "train__stage_steps": "[3,4]",
    "train__max_steps": "null",
    "train__save_every": "2",
    "train__eval_every": "2",
}
SELECTED_BY = "exact/mrr@10"


def weights_of(run: Path) -> bytes:
    return (run / "model" / "model.safetensors").read_bytes()


def events_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]


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


def test_a_stage_that_makes_dev_worse_says_so(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = iter([30.0, 40.0, 20.0, 25.0])  # at steps 2 and 3 of the first stage, 2 and 4 of the second
    monkeypatch.setattr("bench.run.stages._on_dev", lambda run, prepared: lambda: {SELECTED_BY: next(measured)})
    assert bench(*words(data, tmp_path, **STAGED)) == 0
    record = record_of(only_run(tmp_path))
    said = f"stage in_batch: its best {SELECTED_BY} on dev is 25.00, below the 40.00 that it started from; "
    assert [warning for warning in record.training["warnings"] if warning.startswith(said)]
    assert record.selection["value"] == 25


def test_messages_name_the_stage_and_count_the_steps_of_the_run(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.run.stages._on_dev", lambda run, prepared: lambda: {SELECTED_BY: 30.0})
    changes = {**STAGED, "train__eval_every": "1", "train__patience": "1"}
    assert bench(*words(data, tmp_path, **changes)) == 0
    assert "stage simcse: dev has not improved since step 1: training ends at step 2" in caplog.messages
    assert "stage in_batch: dev has not improved since step 3: training ends at step 4" in caplog.messages
    assert record_of(only_run(tmp_path)).selection["step"] == 3


def test_a_warning_is_recorded_once_for_each_stage_with_its_name(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.train.trainer.diagnose", lambda strategy, row, step: [f"odd: up to step {step}"])
    assert bench(*words(data, tmp_path, **{**STAGED, "train__eval_every": "0"})) == 0
    found = [text for text in record_of(only_run(tmp_path)).training["warnings"] if "odd" in text]
    assert found == ["stage simcse: odd: up to step 2", "stage in_batch: odd: up to step 5"]


def test_a_stage_without_a_budget_says_which_it_is(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mining = {"strategy": "in_batch+mined_hard", "strategy__mined_hard__last": "20", "train__max_steps": "null"}
    assert bench(*words(data, tmp_path, **mining, budget__texts="40")) == 2
    assert re.search(
        r"stage mined_hard: the budget is spent before the first step: it ends at 40 texts, and mining, guides and "
        r"earlier stages took \d+; give more",
        capsys.readouterr().err,
    )


def test_the_stages_of_a_run_are_distinguished(data: Path, tmp_path: Path) -> None:
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


def test_a_finished_run_teaches_another(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its vectors may have another length; a name that is neither a run nor an encoder is told."""
    assert bench(*words(data, tmp_path, strategy="mnr", encoder__output_dim="16", encoder__query_prefix="ask")) == 0
    teacher = only_run(tmp_path).name
    distil = {"strategy": "similarity_distil", "strategy__texts": "corpus"}
    assert bench(*words(data, tmp_path, **distil, strategy__teacher=teacher)) == 0
    (student,) = (path for name, path in runs_in(tmp_path).items() if name != teacher)
    assert record_of(student).cost["mine_texts"] == 60, "every text of the corpus once"
    capsys.readouterr()
    assert bench(*words(data, tmp_path, **distil, strategy__teacher="nobody")) == 2
    assert "the encoder 'nobody', which is no finished run in" in capsys.readouterr().err
