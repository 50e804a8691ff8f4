"""The token store: the tokenizer's own ids, kept on disk and never believed when damaged."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from bench.data import Tokens, tokenize
from bench.data import tokens as store
from bench.errors import UserError

WORDS = [f"w{i}" for i in range(20)]


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {word: i for i, word in enumerate(["[UNK]", "[PAD]", "[CLS]", "[SEP]", "query", *WORDS])}
    backend = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = Whitespace()
    backend.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]", pad_token="[PAD]")


@pytest.fixture
def texts() -> list[str]:
    draw = random.Random(5)
    return [" ".join(draw.choices([*WORDS, "unknown"], k=draw.randrange(12))) for _ in range(100)]


def same(one: Tokens, other: Tokens) -> bool:
    arrays = np.array_equal(one.ids, other.ids) and np.array_equal(one.offsets, other.offsets)
    return arrays and one.truncated == other.truncated


@pytest.mark.parametrize("prefix", ["", "query "])
@pytest.mark.parametrize("chunk", [7, 100, 8192])
def test_tokens_are_those_of_the_tokenizer(
    tokenizer: PreTrainedTokenizerFast, texts: list[str], prefix: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "CHUNK", chunk)
    tokens = tokenize(texts, tokenizer, 8, prefix)
    cut = 0
    for i, text in enumerate(texts):
        assert tokens[i].tolist() == tokenizer(prefix + text, truncation=True, max_length=8)["input_ids"]
        cut += len(tokenizer(prefix + text)["input_ids"]) > 8
    assert tokens.truncated == cut > 0
    assert tokens.lengths.tolist() == [len(tokens[i]) for i in range(len(tokens))]
    assert (tokens.ids.dtype, tokens.offsets.dtype) == (np.int32, np.int64)


def test_the_tokenizer_is_left_as_it_was(tokenizer: PreTrainedTokenizerFast, texts: list[str], tmp_path: Path) -> None:
    tokenizer(texts, truncation=True, max_length=5, padding="max_length")
    before = tokenizer.backend_tokenizer.to_str()
    tokens = tokenize(texts, tokenizer, 8, cache=tmp_path)
    assert tokenizer.backend_tokenizer.to_str() == before
    tokenizer(texts)
    assert same(tokens, tokenize(texts, tokenizer, 8, cache=tmp_path))
    assert len(list(tmp_path.iterdir())) == 1, "what the tokenizer did before does not change the key"


def test_the_cache_is_read_and_gives_the_same(
    tokenizer: PreTrainedTokenizerFast, texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = tokenize(texts, tokenizer, 8)
    first = tokenize(texts, tokenizer, 8, cache=tmp_path)
    monkeypatch.setattr(store, "_encode", lambda *args: pytest.fail("tokenised again"))
    second = tokenize(texts, tokenizer, 8, cache=tmp_path)
    assert same(plain, first) and same(plain, second)
    assert isinstance(second.ids, np.memmap)


def test_everything_that_matters_is_in_the_key(
    tokenizer: PreTrainedTokenizerFast, texts: list[str], tmp_path: Path
) -> None:
    for length, prefix, chosen in [(8, "", texts), (9, "", texts), (8, "query ", texts), (8, "", texts[1:])]:
        cached = tokenize(chosen, tokenizer, length, prefix, tmp_path)
        assert same(cached, tokenize(chosen, tokenizer, length, prefix))
    tokenizer.add_tokens(["unknown"])
    assert same(tokenize(texts, tokenizer, 8, cache=tmp_path), tokenize(texts, tokenizer, 8))
    assert len(list(tmp_path.iterdir())) == 5


def test_a_damaged_cache_is_made_again(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever byte of the file changes, and wherever it is cut."""
    texts = ["w1 w2 w3", "w4"]
    plain = tokenize(texts, tokenizer, 4)
    tokenize(texts, tokenizer, 4, cache=tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    changed = [whole[:i] + bytes([whole[i] ^ 1 << i % 8]) + whole[i + 1 :] for i in range(len(whole))]
    for damaged in [*changed, *(whole[:end] for end in range(len(whole))), whole + b"more"]:
        path.unlink()  # the file may be mapped
        path.write_bytes(damaged)
        caplog.clear()
        assert same(tokenize(texts, tokenizer, 4, cache=tmp_path), plain)
        assert "made again" in caplog.text
        assert path.read_bytes() == whole


def test_no_texts_and_empty_texts(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    for cache in (None, tmp_path, tmp_path):
        assert len(tokenize([], tokenizer, 8, cache=cache)) == 0
        assert tokenize([""], tokenizer, 8, cache=cache)[0].tolist() == [2, 3]


def test_what_cannot_be_tokenised_is_told(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(UserError, match="max_tokens=2 must be at least 3"):
        tokenize(["w1"], tokenizer, 2)
    with pytest.raises(UserError, match="no fast tokenizer"):
        tokenize(["w1"], SimpleNamespace(is_fast=False), 8)  # type: ignore[arg-type]
