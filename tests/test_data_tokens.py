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

from bench.cache import Cache
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
    return arrays and np.array_equal(one.truncated, other.truncated)


@pytest.mark.parametrize("prefix", ["", "query "])
@pytest.mark.parametrize("chunk", [7, 100, 8192])
def test_tokens_are_those_of_the_tokenizer(
    tokenizer: PreTrainedTokenizerFast, texts: list[str], prefix: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "CHUNK", chunk)
    tokens = tokenize(texts, tokenizer, 8, prefix)
    cut = []
    for i, text in enumerate(texts):
        assert tokens[i].tolist() == tokenizer(prefix + text, truncation=True, max_length=8)["input_ids"]
        cut.append(len(tokenizer(prefix + text)["input_ids"]) > 8)
    assert tokens.truncated.tolist() == cut and any(cut)
    assert tokens.lengths.tolist() == [len(tokens[i]) for i in range(len(tokens))]
    assert (tokens.ids.dtype, tokens.offsets.dtype) == (np.int32, np.int64)


def test_the_tokenizer_is_left_as_it_was(tokenizer: PreTrainedTokenizerFast, texts: list[str], tmp_path: Path) -> None:
    tokenizer(texts, truncation=True, max_length=5, padding="max_length")
    before = tokenizer.backend_tokenizer.to_str()
    tokens = tokenize(texts, tokenizer, 8, cache=Cache(tmp_path))
    assert tokenizer.backend_tokenizer.to_str() == before
    tokenizer(texts)
    assert same(tokens, tokenize(texts, tokenizer, 8, cache=Cache(tmp_path)))
    assert len(list(tmp_path.glob("tokens-*"))) == 1, "what the tokenizer did before does not change the key"


def test_the_cache_is_read_and_gives_the_same(
    tokenizer: PreTrainedTokenizerFast, texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = tokenize(texts, tokenizer, 8)
    first = tokenize(texts, tokenizer, 8, cache=Cache(tmp_path))
    monkeypatch.setattr(store.Reader, "read", lambda *args: pytest.fail("tokenised again"))
    second = tokenize(texts, tokenizer, 8, cache=Cache(tmp_path))
    assert same(plain, first) and same(plain, second)
    assert isinstance(second.ids, np.memmap)


def test_everything_that_matters_is_in_the_key(
    tokenizer: PreTrainedTokenizerFast, texts: list[str], tmp_path: Path
) -> None:
    for length, prefix, chosen in [(8, "", texts), (9, "", texts), (8, "query ", texts), (8, "", texts[1:])]:
        cached = tokenize(chosen, tokenizer, length, prefix, Cache(tmp_path))
        assert same(cached, tokenize(chosen, tokenizer, length, prefix))
    tokenizer.add_tokens(["unknown"])
    assert same(tokenize(texts, tokenizer, 8, cache=Cache(tmp_path)), tokenize(texts, tokenizer, 8))
    assert len(list(tmp_path.glob("tokens-*"))) == 5


def test_no_texts_and_empty_texts(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    for cache in (None, Cache(tmp_path), Cache(tmp_path)):
        assert len(tokenize([], tokenizer, 8, cache=cache)) == 0
        assert tokenize([""], tokenizer, 8, cache=cache)[0].tolist() == [2, 3]


def test_what_cannot_be_tokenised_is_told(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(UserError, match="max_tokens=2 must be at least 3"):
        tokenize(["w1"], tokenizer, 2)
    with pytest.raises(UserError, match="no fast tokenizer"):
        tokenize(["w1"], SimpleNamespace(is_fast=False), 8)  # type: ignore[arg-type]
