"""Truncated texts: counted for each split, with a warning where there are many."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from bench.cache import Cache, cache_dir
from bench.data.dataset import DataSet
from bench.data.tokens import Tokens, tokenize
from bench.model.config import EncoderConfig
from bench.model.presets import build

MANY = 0.05  # share of truncated texts from which there is a warning


def tokens_of(
    data: DataSet, tokenizer: PreTrainedTokenizerBase, config: EncoderConfig, cache: Cache
) -> tuple[Tokens, Tokens]:
    """The queries and the passages of ``data`` as tokens, cut to the lengths of ``config``, with its prefixes."""
    return (
        tokenize(data.queries, tokenizer, config.max_query_tokens, config.query_prefix, cache),
        tokenize(data.passages, tokenizer, config.max_passage_tokens, config.passage_prefix, cache),
    )


def truncated(data: DataSet, queries: Tokens, passages: Tokens) -> dict[str, int]:
    """How many texts were cut, by the names of :attr:`DataSet.counts`: ``corpus``, ``train_queries`` ..."""
    found = {
        "passages": int(passages.truncated.sum()),
        "corpus": int(passages.truncated[: data.corpus_size].sum()),
    }
    for name, split in data.splits.items():
        found[f"{name}_queries"] = int(queries.truncated[split.queries].sum())
        found[f"{name}_positives"] = int(passages.truncated[np.unique(split.relevant.values)].sum())
    return found


def warnings(cut: Mapping[str, int], counts: Mapping[str, int], config: EncoderConfig) -> Iterator[str]:
    """A sentence for the corpus and each split's queries of which at least :data:`MANY` were cut."""
    for name, number in cut.items():
        total = counts.get(name, 0)
        if name != "passages" and total and number / total >= MANY:
            key = "max_passage_tokens" if name == "corpus" else "max_query_tokens"
            what = "passages of the corpus" if name == "corpus" else name.replace("_", " ")
            yield (
                f"texts were truncated: {number:,} of {total:,} {what} ({number / total:.0%}) are longer than "
                f"encoder.{key}={getattr(config, key)}"
            )


def describe(data: DataSet, config: EncoderConfig) -> list[str]:
    """Lines that say how many texts of each kind the encoder of ``config`` would truncate."""
    encoder = build(config, data.passages, torch.device("cpu"), 0)
    cut = truncated(data, *tokens_of(data, encoder.tokenizer, config, Cache(cache_dir())))
    lengths = f"{config.max_query_tokens} tokens a query, {config.max_passage_tokens} a passage"
    lines = [f"truncated by encoder={config.name} ({lengths})"]
    for name, number in cut.items():
        total = data.counts.get(name)
        share = f"  {number / total:.1%}" if total else ""
        lines.append(f"{name.replace('_', ' '):<16}{number:>6,}{share}")
    return lines
