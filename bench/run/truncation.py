"""What reading by the encoder loses of texts: truncated, unknown to its vocabulary, or equal to others afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from bench.cache import Cache, cache_dir
from bench.data.dataset import DataSet, Ids
from bench.data.tokens import Tokens, tokenize
from bench.model.config import EncoderConfig
from bench.model.encoder import Encoder
from bench.model.presets import build

MANY = 0.05  # share of truncated texts, or of unknown tokens, from which there is a warning
MANY_EQUAL = 0.01  # share of the corpus


def tokens_of(data: DataSet, encoder: Encoder, cache: Cache) -> tuple[Tokens, Tokens]:
    """The queries and the passages of ``data`` as tokens, cut to the lengths of ``encoder``, with its prefixes."""
    query, passage = encoder.config.query, encoder.config.passage
    return (
        tokenize(data.queries, encoder.tokenizer, query.tokens, query.prefix, cache),
        tokenize(data.passages, encoder.tokenizer, passage.tokens, passage.prefix, cache),
    )


@dataclass(frozen=True)
class Lost:
    """What reading loses, by the names of :attr:`DataSet.counts`: ``corpus``, ``train_queries`` ...

    ``truncated`` counts the texts that were cut. ``unknown`` is the share of tokens, from 0 to 1, that stand for what
    the vocabulary lacks. ``equal_after_cutting`` counts the texts whose tokens are those of an earlier text.
    """

    truncated: Mapping[str, int]
    unknown: Mapping[str, float]
    equal_after_cutting: Mapping[str, int]

    def facts(self) -> dict[str, Any]:
        """As a record holds it."""
        return asdict(self)


def lost(data: DataSet, queries: Tokens, passages: Tokens) -> Lost:
    """What the encoder that made the tokens loses of the texts of ``data``."""
    truncated, unknown = {}, {}
    for name, tokens, rows in _kinds(data, queries, passages):
        truncated[name] = int(tokens.truncated[rows].sum())
        unknown[name] = float(tokens.unknown[rows].sum() / max(1, tokens.lengths[rows].sum()))
    equal = {"corpus": _equal(passages, data.corpus_size), "queries": _equal(queries, len(queries))}
    return Lost(truncated, unknown, equal)


def _kinds(data: DataSet, queries: Tokens, passages: Tokens) -> Iterator[tuple[str, Tokens, Ids]]:
    """The kinds of texts: name, tokens and rows."""
    yield "passages", passages, np.arange(len(passages))
    yield "corpus", passages, np.arange(data.corpus_size)
    for name, split in data.splits.items():
        yield f"{name}_queries", queries, split.queries
        yield f"{name}_positives", passages, np.unique(split.relevant.values)


def _equal(tokens: Tokens, count: int) -> int:
    """How many of the first ``count`` texts have the tokens of an earlier one."""
    return count - len({tokens[text].tobytes() for text in range(count)})


def warnings(found: Lost, counts: Mapping[str, int], config: EncoderConfig) -> Iterator[str]:
    """A sentence for the corpus and each split's queries of which much was lost."""
    for name, number in found.truncated.items():
        total = counts.get(name, 0)
        if name != "passages" and total and number / total >= MANY:
            key, reading = (
                ("max_passage_tokens", config.passage) if name == "corpus" else ("max_query_tokens", config.query)
            )
            yield (
                f"texts were truncated: {number:,} of {total:,} {_named(name)} ({number / total:.0%}) are longer than "
                f"encoder.{key}={reading.tokens}"
            )
    for name, share in found.unknown.items():
        if name in counts and name != "passages" and share >= MANY:
            remedy = "take an encoder of this language, or encoder=scratch"
            if config.name == "scratch":
                remedy = "its vocabulary is made from the passages, which lack these characters"
            yield (
                f"the vocabulary does not fit: {share:.0%} of the tokens of the {_named(name)} are unknown to "
                f"encoder={config.name}; {remedy}"
            )
    equal, corpus = found.equal_after_cutting["corpus"], counts["corpus"]
    if equal / max(1, corpus) >= MANY_EQUAL:
        yield (
            f"passages are equal after cutting: {equal:,} of {corpus:,} passages of the corpus have the tokens of an "
            "earlier one, and no encoder can rank one above the other; raise encoder.max_passage_tokens"
        )


def _named(name: str) -> str:
    return "passages of the corpus" if name == "corpus" else name.replace("_", " ")


def describe(data: DataSet, config: EncoderConfig) -> list[str]:
    """Lines that say what the encoder of ``config`` would lose of each kind of texts."""
    encoder = build(config, data.vocabulary_texts, torch.device("cpu"), 0)
    found = lost(data, *tokens_of(data, encoder, Cache(cache_dir())))
    settings = encoder.config
    lengths = f"{settings.query.tokens} tokens a query, {settings.passage.tokens} a passage"
    lines = [f"truncated by encoder={config.name} ({lengths}); share of tokens that its vocabulary lacks"]
    lines.append(f"{'':<16}{'truncated':>10}{'':>8}{'unknown':>10}")
    for name, number in found.truncated.items():
        total = data.counts.get(name)
        share = f"{number / total:.1%}" if total else ""
        lines.append(f"{_label(name):<16}{number:>10,}{share:>8}{found.unknown[name]:>10.1%}")
    lines.append("texts with the tokens of an earlier one")
    lines += [f"{_label(name):<16}{number:>10,}" for name, number in found.equal_after_cutting.items()]
    return [*lines, *warnings(found, data.counts, settings)]


def _label(name: str) -> str:
    return name.replace("_", " ")
