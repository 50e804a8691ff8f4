"""Hard negatives judged by a cross-encoder: probabilities, verdicts, and the file that a run reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_generated import SMALL
from tiny import bench, words_for, write_data
from tiny_runs import only_run, record_of
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from bench.cache import Cache
from bench.config.overrides import resolve
from bench.data import DataSet, load
from bench.data.dataset import Floats
from bench.errors import UserError
from bench.model.cross_encoder import CrossEncoder
from bench.progress import unwatched
from bench.use.judge import Bounds, Candidates, Verdict, judge

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


def verdicts(data: DataSet, cross_encoder: CrossEncoder, candidates: Candidates, bounds: Bounds) -> list[Verdict]:
    blocks = judge(data, cross_encoder, candidates, bounds, Cache(None), unwatched)
    return [verdict for block in blocks for verdict in block.verdicts]


@pytest.mark.parametrize("labels", [1, 2])
def test_a_probability_is_that_of_the_model_for_the_pair_alone(data: Path, labels: int, tmp_path: Path) -> None:
    corpus = (data / "corpus.tsv").read_text().splitlines()
    place = saved(tmp_path / "model", corpus, labels)
    pairs = [(" ".join(corpus[n].split()[:2]), corpus[3 * n]) for n in range(20)]
    pairs[7] = (pairs[7][0], " ".join(corpus[:9]))  # is cut
    cross_encoder = CrossEncoder.load(str(place), CPU, "fp32")
    found = cross_encoder.probabilities(pairs)
    assert cross_encoder.most_tokens == 24 and cross_encoder.truncated(pairs) == 1
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
    made = verdicts(SMALL, cross_encoder, Candidates(last=1), Bounds(0.4, 0.6))
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
    assert len(verdicts(read, cross_encoder, Candidates(last=6), Bounds())) == 6 * len(read.splits["train"])


def test_what_was_judged_is_not_judged_again(
    data: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted after its first block, and with other bounds."""
    read = load(resolve([f"data='{data}'"]).data)
    cross_encoder, cache = CrossEncoder.load(str(model), CPU, "fp32"), Cache(tmp_path)
    monkeypatch.setattr("bench.use.judge.QUERIES", 10)
    first = next(judge(read, cross_encoder, Candidates(), Bounds(), cache, unwatched))
    seen: list[int] = []
    plain = CrossEncoder.probabilities

    def counted(self: CrossEncoder, pairs: Sequence[tuple[str, str]]) -> Floats:
        seen.append(len(pairs))
        return plain(self, pairs)

    monkeypatch.setattr(CrossEncoder, "probabilities", counted)
    whole = list(judge(read, cross_encoder, Candidates(), Bounds(0.5, 0.5), cache, unwatched))
    assert seen == [200, 80] and len(first.verdicts) == 200
    assert [verdict.score for verdict in whole[0].verdicts] == [verdict.score for verdict in first.verdicts]


def test_a_roberta_reads_as_much_as_it_has_positions_for(tmp_path: Path) -> None:
    corpus = ["a b c d", "b c d a e f"]
    place = saved(tmp_path / "bert", corpus)
    tokenizer = BertTokenizerFast.from_pretrained(place)
    config = RobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        num_labels=1,
        max_position_embeddings=14,
        type_vocab_size=2,
        pad_token_id=0,
    )
    RobertaForSequenceClassification(config).save_pretrained(tmp_path / "roberta")
    tokenizer.save_pretrained(tmp_path / "roberta")
    cross_encoder = CrossEncoder.load(str(tmp_path / "roberta"), CPU, "fp32")
    assert cross_encoder.most_tokens == 13
    assert np.isfinite(cross_encoder.probabilities([("a b c", "d e f " * 9), ("a", "b")])).all()


def test_the_command_writes_a_file_that_a_run_trains_on(
    data: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "verdicts.jsonl"
    bounds = ["--keep", "0.5", "--relabel", "0.95", "--last", "8"]
    assert bench("data", "judge", str(data), "--by", str(model), "--out", str(out), *bounds) == 0
    rows: list[dict[str, Any]] = [json.loads(line) for line in out.read_text().splitlines()]
    kept = sum(row["verdict"] == "keep" for row in rows)
    assert 0 < kept < len(rows) == 24 * 8
    told = capsys.readouterr()
    assert f"{kept:,} keep" in told.out and f"data.judged={out} strategy=provided_hard" in told.out
    assert bench("data", "judge", str(data), "--by", str(model), "--out", str(out), "--keep", "0", "--last", "2") == 0
    assert "provided_hard has nothing to train on" in capsys.readouterr().err
    assert bench("data", "judge", str(data), "--by", str(model), "--out", str(out), *bounds) == 0
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
    with pytest.raises(UserError, match="there is no such directory"):
        CrossEncoder.load(str(tmp_path / "nowhere"), CPU, "fp32")
    broken = saved(tmp_path / "broken", ["a b c d"])
    damaged = BertForSequenceClassification.from_pretrained(broken)
    with torch.no_grad():
        damaged.classifier.weight[0, 0] = torch.nan
    damaged.save_pretrained(broken)
    with pytest.raises(UserError, match="not finite"):
        CrossEncoder.load(str(broken), CPU, "fp32")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (broken / name).unlink()
    with pytest.raises(UserError, match="there is no vocabulary"):
        CrossEncoder.load(str(broken), CPU, "fp32")
    with pytest.raises(UserError, match="must rise"):
        Bounds(keep=0.9, relabel=0.1)
    with pytest.raises(UserError, match="leave no rank"):
        Candidates(first=4, last=4)
    out = tmp_path / "verdicts.jsonl"
    assert bench("data", "judge", str(data), "--by", str(model), "--out", str(out), "train.lr=1") == 2
    assert not out.exists()
