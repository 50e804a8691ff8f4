"""Whole runs through the command line: what one leaves behind, and that it does so of small and odd data too."""

from __future__ import annotations

import json
import math
import shlex
from pathlib import Path

import pandas as pd
import pytest
import torch
from tiny import PASSAGES, bench, write_data
from tiny_runs import exact, only_run, record_of, runs_in, words
from transformers import BertConfig, BertModel, GPT2Config, GPT2Model

from bench.evaluate import metrics
from bench.model.scratch import word_piece


@pytest.fixture(scope="session")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, for tests that only look."""
    root = tmp_path_factory.mktemp("finished")
    assert bench(*words(data, root, eval__split="dev", eval__recall_file="true", train__eval_every="2")) == 0
    return only_run(root)


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


@pytest.mark.parametrize(("own", "judge"), [("bert", "gpt2"), ("gpt2", "bert")])
def test_a_judge_may_be_causal_or_not_whatever_the_encoder_is(
    own: str, judge: str, data: Path, tmp_path: Path, small_models: dict[str, Path]
) -> None:
    causal = str(own == "gpt2").lower()
    names = {"encoder": str(small_models[own]), "encoder__causal": causal, "mining__judge": str(small_models[judge])}
    assert bench(*words(data, tmp_path, eval__split="dev", eval__untrained="false", **names)) == 0
    assert 0 <= record_of(only_run(tmp_path)).training["telemetry"]["guide_above"] <= 1


@pytest.fixture(scope="module")
def small_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Directories of an encoder whose tokens see each other and of one whose tokens see only those before them."""
    tokenizer = word_piece(["a small vocabulary of words and of letters"], 200)
    sizes = {"vocab_size": len(tokenizer), "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    bert = BertModel(BertConfig(**sizes, intermediate_size=32), add_pooling_layer=False)
    causal = GPT2Config(vocab_size=len(tokenizer), n_embd=32, n_layer=1, n_head=2, bos_token_id=None, eos_token_id=3)
    found = {}
    for name, model in (("bert", bert), ("gpt2", GPT2Model(causal))):
        found[name] = tmp_path_factory.mktemp(name)
        model.save_pretrained(found[name])
        tokenizer.save_pretrained(found[name])
    return found


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
    of_phases = [record.cost[f"{phase}_mb"] or 0 for phase in ("encode", "index", "search", "exact")]
    assert 0 < max(of_phases) <= (record.cost["peak_memory_mb"] or 0)
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
    prefixes = ["", "exact/", "dev_hard/", "dev_hard/exact/"]
    expected = {prefix + name for prefix in prefixes for name in metrics.names((1, 5), 20)}
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


def test_what_mining_cost_is_in_the_record(data: Path, tmp_path: Path) -> None:
    mining = {"strategy": "ance", "strategy__refresh": "2", "strategy__last": "20"}
    assert bench(*words(data, tmp_path, **mining)) == 0
    cost = record_of(only_run(tmp_path)).cost
    assert cost["mine_texts"] == 2 * (24 + PASSAGES), "two searches, each by all training queries and passages"
    assert (cost["texts_encoded"] or 0) > cost["mine_texts"] and (cost["mine_s"] or 0) > 0


def test_no_steps_leave_the_encoder_untrained(data: Path, tmp_path: Path) -> None:
    assert bench(*words(data, tmp_path, train__max_steps="0")) == 0
    record = record_of(only_run(tmp_path))
    assert record.metrics == record.baseline_metrics
    assert record.selection["steps"] == 0
    assert record.cost["texts_encoded"] == 0


def test_few_retrieved_passages_choose_the_weights_too(data: Path, tmp_path: Path) -> None:
    assert bench(*words(data, tmp_path, eval__retrieve="5", eval__ks="[1,5]")) == 0
    assert record_of(only_run(tmp_path)).selection["metric"] == "exact/mrr@5"


# Small and odd data


def test_where_there_is_no_test_split_dev_is_reported(tmp_path: Path) -> None:
    data = write_data(tmp_path / "no test")
    (data / "test.tsv").unlink()
    assert bench(*words(data, tmp_path / "runs", train__max_steps="0")) == 0
    assert record_of(only_run(tmp_path / "runs")).split == "dev"


def test_what_the_data_cannot_give_is_told_before_training(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(*words(data, tmp_path, strategy="provided_hard")) == 2
    assert "strategy provided_hard: data set tiny provides no negatives" in capsys.readouterr().err
    assert not runs_in(tmp_path) if tmp_path.exists() else True


def test_patience_without_evaluations_on_dev_is_refused(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(*words(data, tmp_path, train__patience="2", train__eval_every="0")) == 2
    assert "train.patience=2 needs evaluations on dev" in capsys.readouterr().err
    without = write_data(tmp_path / "without")
    for name in ("dev.tsv", "dev_hard.tsv"):
        (without / name).unlink()
    assert bench(*words(without, tmp_path, train__patience="2", train__eval_every="1")) == 2
    assert "train.patience=2: data set without has no dev split" in capsys.readouterr().err


def test_a_batch_may_be_larger_than_the_data(data: Path, tmp_path: Path) -> None:
    assert bench(*words(data, tmp_path, train__batch_size="1000", train__max_steps="2")) == 0
    assert record_of(only_run(tmp_path)).selection["steps"] == 2


def test_data_without_a_train_split_is_for_evaluation_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_data(tmp_path / "data")
    (data / "train.tsv").unlink()
    assert bench(*words(data, tmp_path / "runs")) == 2
    assert "train.max_steps=0" in capsys.readouterr().err
    assert bench(*words(data, tmp_path / "runs", train__max_steps="0")) == 0
