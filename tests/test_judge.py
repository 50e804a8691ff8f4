"""Hard negatives judged by a cross-encoder: probabilities, verdicts, and the file that a run reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_generated import SMALL
from tiny import bench, words_for, write_data
from tiny_runs import only_run, record_of
from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

from bench.cache import Cache
from bench.config.overrides import resolve
from bench.data import load
from bench.errors import UserError
from bench.model.cross_encoder import CrossEncoder
from bench.progress import unwatched
from bench.use.judge import Bounds, Candidates, judge

CPU = torch.device("cpu")


def saved(place: Path, texts: list[str], labels: int = 1, seed: int = 0) -> Path:
    """A small cross-encoder with random weights, and a classifier whose logits vary around 0."""
    place.mkdir(parents=True)
    words = sorted({word for text in texts for word in text.split()})
    known = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    tokenizer = BertTokenizerFast(vocab={word: number for number, word in enumerate(known)})
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        num_labels=labels,
        initializer_range=0.2,
        max_position_embeddings=24,
    )
    model = BertForSequenceClassification(config).eval()
    read = tokenizer(words[:20], words[-20:], return_tensors="pt", padding=True)
    with torch.no_grad():
        logits = model(**read).logits
        model.classifier.weight.mul_(2 / logits.std(0)[:, None])
        model.classifier.bias.copy_(-2 * logits.mean(0) / logits.std(0))
    model.save_pretrained(place)
    tokenizer.save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("judge") / "data")


@pytest.fixture(scope="module")
def model(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("judge") / "model", [(data / "corpus.tsv").read_text()])


@pytest.mark.parametrize("labels", [1, 2])
def test_a_probability_is_that_of_the_model_for_the_pair_alone(data: Path, labels: int, tmp_path: Path) -> None:
    corpus = (data / "corpus.tsv").read_text().splitlines()
    place = saved(tmp_path / "model", corpus, labels)
    pairs = [(" ".join(corpus[n].split()[:2]), corpus[3 * n]) for n in range(20)]
    pairs[7] = (pairs[7][0], " ".join(corpus[:9]))  # is cut
    found = CrossEncoder.load(str(place), CPU, "fp32").probabilities(pairs)
    model, tokenizer = (of.from_pretrained(place) for of in (BertForSequenceClassification, BertTokenizerFast))
    for pair, probability in zip(pairs, found, strict=True):
        read = tokenizer(*pair, truncation=True, max_length=24, return_tensors="pt")
        with torch.no_grad():
            logits = model.eval()(**read).logits[0]
        expected = logits.sigmoid()[0] if labels == 1 else logits.softmax(0)[1]
        assert probability == pytest.approx(float(expected), rel=1e-3)
    assert np.log(found / (1 - found)).std() > 0.5, "scores that are all equal would test nothing"


def test_provided_and_retrieved_passages_are_judged_and_positives_are_not(model: Path) -> None:
    cross_encoder = CrossEncoder.load(str(model), CPU, "fp32")
    made = list(judge(SMALL, cross_encoder, Candidates(last=1), Bounds(0.4, 0.6), Cache(None), unwatched))
    train = SMALL.splits["train"]
    asked: dict[str, set[str]] = {}
    for verdict in made:
        asked.setdefault(verdict.query, set()).add(verdict.passage)
        assert verdict.verdict == ("keep" if verdict.score < 0.4 else "relabel" if verdict.score > 0.6 else "drop")
    for row, query in enumerate(train.queries):
        positives = {SMALL.passages[p] for p in train.relevant[row]}
        provided = {SMALL.passages[p] for p in train.negatives[row]} if train.negatives is not None else set()
        judged = asked.get(SMALL.queries[query], set())
        assert provided <= judged and not judged & positives


def test_the_ranks_of_bm25_are_judged(data: Path, model: Path) -> None:
    read = load(resolve([f"data='{data}'"]).data)
    cross_encoder = CrossEncoder.load(str(model), CPU, "fp32")
    deep, shallow = (
        Candidates(first=first, last=last).of(read, CPU, Cache(None), unwatched) for first, last in ((0, 6), (2, 4))
    )
    assert all(np.array_equal(row[2:4], inner) for row, inner in zip(deep, shallow, strict=True))
    made = list(judge(read, cross_encoder, Candidates(last=6), Bounds(), Cache(None), unwatched))
    assert len(made) == 6 * len(read.splits["train"])


def test_the_command_writes_a_file_that_a_run_trains_on(
    data: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "verdicts.jsonl"
    bounds = ["--keep", "0.5", "--relabel", "0.95", "--last", "8"]
    assert bench("data", "judge", str(data), "--by", str(model), "--out", str(out), *bounds) == 0
    rows: list[dict[str, Any]] = [json.loads(line) for line in out.read_text().splitlines()]
    kept = sum(row["verdict"] == "keep" for row in rows)
    assert 0 < kept < len(rows) == 24 * 8
    assert f"{kept:,} keep" in capsys.readouterr().out
    words = {**words_for(data, tmp_path / "runs"), "data.judged": str(out), "strategy": "provided_hard"}
    assert bench("run", *(f"{key}={value}" for key, value in words.items())) == 0
    notices = record_of(only_run(tmp_path / "runs")).data["notices"]
    assert notices["provided negatives added by a verdict"] == kept


def test_what_is_no_cross_encoder_is_refused(data: Path, model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="3 outputs, not one or two"):
        CrossEncoder.load(str(saved(tmp_path / "three", ["a b c d"], labels=3)), CPU, "fp32")
    BertForSequenceClassification.from_pretrained(model).bert.save_pretrained(tmp_path / "encoder")
    BertTokenizerFast.from_pretrained(model).save_pretrained(tmp_path / "encoder")
    with pytest.raises(UserError, match=r"no weights for classifier\."):
        CrossEncoder.load(str(tmp_path / "encoder"), CPU, "fp32")
    with pytest.raises(UserError, match="no usable cross-encoder"):
        CrossEncoder.load(str(tmp_path), CPU, "fp32")
    with pytest.raises(UserError, match="must rise"):
        Bounds(keep=0.9, relabel=0.1)
    with pytest.raises(UserError, match="leave no rank"):
        Candidates(first=4, last=4)
    out = tmp_path / "verdicts.jsonl"
    assert bench("data", "judge", str(data), "--by", str(model), "--out", str(out), "train.lr=1") == 2
    assert not out.exists()
