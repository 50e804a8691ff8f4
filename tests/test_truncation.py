"""What reading loses of texts is counted for each split, and told where it is much: cut, unknown, equal afterwards."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
from tiny import PASSAGES, bench
from tiny_runs import only_run, record_of, words
from tokenizers import Tokenizer, models, pre_tokenizers
from toys import DATA, toy_encoder
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from bench.cache import Cache
from bench.commands.output import Stderr
from bench.data.tokens import tokenize
from bench.model.files import save
from bench.run.truncation import lost, tokens_of, warnings


def test_a_run_counts_truncated_texts_of_each_split_and_warns(data: Path, tmp_path: Path) -> None:
    short = {"encoder__max_passage_tokens": "4", "encoder__max_query_tokens": "32", "train__max_steps": "1"}
    assert bench(*words(data, tmp_path, **short)) == 0
    record = record_of(only_run(tmp_path))
    cut = record.data["truncated"]
    assert cut["corpus"] == cut["passages"] == PASSAGES
    assert (cut["train_positives"], cut["dev_positives"], cut["test_positives"]) == (24, 8, 8)
    assert cut["train_queries"] == cut["dev_queries"] == cut["test_queries"] == 0
    (warning,) = [told for told in record.training["warnings"] if "truncated" in told]
    assert warning == (
        f"texts were truncated: {PASSAGES} of {PASSAGES} passages of the corpus (100%) are longer than "
        "encoder.max_passage_tokens=4"
    )


def test_what_fits_is_counted_and_not_warned_of(data: Path, tmp_path: Path) -> None:
    assert bench(*words(data, tmp_path, train__max_steps="0")) == 0
    record = record_of(only_run(tmp_path))
    assert set(record.data["truncated"].values()) == {0}
    assert set(record.data["unknown"].values()) == {0.0}
    assert record.data["equal_after_cutting"] == {"corpus": 0, "queries": 0}
    assert [w.partition(",")[0] for w in record.training["warnings"]] == ["test has only 8 queries"], "nothing is lost"


def test_inspect_says_it_beforehand(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("data", "inspect", str(data), "--encoder", "scratch") == 0
    out = capsys.readouterr().out
    assert "truncated by encoder=scratch (64 tokens a query, 128 a passage)" in out
    assert "corpus                   0    0.0%      0.0%" in out
    assert bench("data", "inspect", str(data), "--encoder", "no-such") == 2


def test_a_run_names_a_vocabulary_that_does_not_fit(data: Path, tmp_path: Path) -> None:
    """The toy encoder's vocabulary has letters of its own data alone; here every word has one that it lacks."""
    other = tmp_path / "data"
    other.mkdir()
    for path in data.glob("*.tsv"):
        fields = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
        strange = ["\t".join(" ".join(f"水{word}" for word in field.split()) for field in row) for row in fields]
        (other / path.name).write_text("\n".join(strange) + "\n", encoding="utf-8")
    save(toy_encoder(DATA), tmp_path / "model")
    runs, encoder = tmp_path / "runs", str(tmp_path / "model")
    assert bench(*words(other, runs, encoder=encoder, train__max_steps="1")) == 0
    record = record_of(only_run(runs))
    assert record.data["unknown"]["corpus"] > 0.3 and record.data["unknown"]["train_queries"] > 0.3
    told = [text for text in record.training["warnings"] if "the vocabulary does not fit" in text]
    assert len(told) == 4 and f"encoder={encoder}; take an encoder of this language, or encoder=scratch" in told[0]
    assert json.loads((only_run(runs) / "record.json").read_text())["data"]["unknown"] == record.data["unknown"]


def test_passages_that_are_equal_after_cutting_are_counted_and_told(tmp_path: Path) -> None:
    encoder = toy_encoder(DATA)
    same = replace(DATA, passages=[f"{DATA.passages[0]} {text}" for text in DATA.passages])
    assert lost(same, *tokens_of(same, encoder, Cache(tmp_path))).equal_after_cutting["corpus"] == 0
    encoder.config = replace(encoder.config, max_passage_tokens=4)
    tokens = tokens_of(same, encoder, Cache(tmp_path))
    found = lost(same, *tokens)
    rows = {tuple(tokens[1][i].tolist()) for i in range(same.corpus_size)}
    assert found.equal_after_cutting["corpus"] == same.corpus_size - len(rows) > 0
    assert [text for text in warnings(found, same.counts, encoder.config) if "equal after cutting" in text]


def words_of(kind: str) -> PreTrainedTokenizerBase:
    """A tokenizer of one kind that knows ``a`` and ``b``, or every byte."""
    if kind == "word":
        backend = Tokenizer(models.WordLevel({"<unk>": 0, "a": 1, "b": 2}, unk_token="<unk>"))
    elif kind == "unigram":
        backend = Tokenizer(models.Unigram([("<unk>", 0.0), ("a", -1.0), ("b", -1.0)], unk_id=0))
    else:
        letters = {letter: i for i, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
        backend = Tokenizer(models.BPE({**letters, "<unk>": len(letters)}, []))
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", eos_token="<unk>")
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")


@pytest.mark.parametrize(("kind", "wanted"), [("word", [0, 2, 1]), ("unigram", [0, 2, 1]), ("byte", [0, 0, 0])])
def test_unknown_tokens_are_those_that_the_vocabulary_lacks(kind: str, wanted: list[int]) -> None:
    tokens = tokenize(["a b a", "水 b 火", "a z"], words_of(kind), 16)
    assert tokens.unknown.tolist() == wanted


def test_a_text_without_any_token_gets_one() -> None:
    tokens = tokenize(["a", "", "b"], words_of("word"), 16)
    assert tokens.lengths.tolist() == [1, 1, 1] and np.isin(tokens.ids, [0, 1, 2]).all()


def test_a_vocabulary_made_from_the_passages_is_not_recommended_against_itself(tmp_path: Path) -> None:
    config = toy_encoder(DATA).config
    found = replace(lost(DATA, *tokens_of(DATA, toy_encoder(DATA), Cache(tmp_path))), unknown={"train_queries": 0.5})
    (own,) = warnings(found, DATA.counts, replace(config, name="scratch"))
    assert own.endswith("encoder=scratch; its vocabulary is made from the passages, which lack these characters")
    (other,) = warnings(found, DATA.counts, replace(config, name="minilm"))
    assert other.endswith("take an encoder of this language, or encoder=scratch")


def test_a_sweep_says_once_what_is_said_of_its_data(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = copytree(data, tmp_path / "odd")
    with (odd / "train.tsv").open("a", encoding="utf-8") as file:
        file.write("\n\n")
    assert bench(*words(odd, tmp_path / "runs", seed="1,2", train__max_steps="1")) == 0
    said = [record for record in caplog.records if "blank lines" in record.getMessage()]
    assert len(said) == 2, "each run says it"
    capsys.readouterr()
    handler = Stderr()
    for record in said:
        handler.handle(record)
    assert capsys.readouterr().err.count("blank lines (2)") == 1
    runs = [json.loads(path.read_text()) for path in (tmp_path / "runs").glob("*/record.json")]
    assert [run["data"]["notices"]["blank lines"] for run in runs] == [2, 2]
