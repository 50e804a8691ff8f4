"""What a stage is trained on: pairs of texts as tokens, ready to be drawn from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import singledispatch

import numpy as np

from bench.data.dataset import DataSet, Ids, Ragged, Split
from bench.data.pairs import Pairs
from bench.data.tokens import Tokens
from strategies.examples import Examples, LabelledPairs, TwoViews

Parts = list[tuple[Tokens, Ids]]
REPETITION = 3  # what its stream of random numbers is for; sampling has the numbers before


@dataclass(frozen=True)
class Material:
    """Training pairs and the tokens of their two sides, by the ids that the pairs use."""

    pairs: Pairs
    queries: Tokens
    passages: Tokens

    def parts(self, queries: Ids, passages: Ids, step: int) -> Parts:
        """The texts of a batch as (tokens, rows), first the queries."""
        return [(self.queries, queries), (self.passages, passages)]

    def vocabulary(self, reach: Ids) -> Ids:
        """Ids of all tokens that a batch can have when it may hold the passages ``reach`` beside the pairs'."""
        passages = np.union1d(self.pairs.positive, reach)
        return np.unique(np.concatenate([self.queries.take(np.unique(self.pairs.query)), self.passages.take(passages)]))


@dataclass(frozen=True)
class Repeating(Material):
    """Two views of one text, in each of which some tokens stand twice."""

    share: float
    longest: int
    seed: int

    def parts(self, queries: Ids, passages: Ids, step: int) -> Parts:
        rng = np.random.default_rng([self.seed, REPETITION, step])
        return [
            (repeated(tokens, rows, self.share, self.longest, rng), np.arange(len(rows)))
            for tokens, rows in ((self.queries, queries), (self.passages, passages))
        ]


def repeated(tokens: Tokens, rows: Ids, share: float, longest: int, rng: np.random.Generator) -> Tokens:
    """The texts ``rows`` with up to ``share`` of each one's tokens repeated in place, at most ``longest`` in all.

    The number of repeated tokens is drawn evenly from 0 up to ``max(2, share * length)``; texts of five or
    fewer tokens, and the first and last token of every text, which are special, stay as they are.
    """
    lengths = tokens.lengths[rows]
    most = np.maximum(2, (share * lengths).astype(np.int64))
    count = rng.integers(0, most + 1)
    count = np.where(lengths > 5, np.minimum(np.minimum(count, lengths - 2), longest - lengths), 0)
    offsets = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    text = np.repeat(np.arange(len(rows)), lengths)
    place = np.arange(offsets[-1]) - offsets[text]
    draw = rng.random(len(text))
    draw[(place == 0) | (place == lengths[text] - 1)] = 2  # special tokens come last
    order = np.lexsort((draw, text))
    times = np.ones(len(text), dtype=np.int64)
    times[order] += place < count[text]  # the first ``count`` of every text in its random order
    longer = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum(lengths + count, out=longer[1:])
    return Tokens(np.repeat(tokens.take(rows), times), longer, 0)


@dataclass(frozen=True)
class Texts:
    """What examples are made of: a data set with its ``queries`` and ``passages`` as tokens.

    ``cut`` tokenises other texts; no text may have more than ``longest`` tokens.
    """

    data: DataSet
    queries: Tokens
    passages: Tokens
    cut: Callable[[Sequence[str]], Tokens]
    longest: int
    seed: int


@singledispatch
def material(examples: Examples, texts: Texts) -> Material:
    """What ``examples`` declares, of ``texts``."""
    raise TypeError(f"nothing makes {type(examples).__name__}")


@material.register
def _labelled(examples: LabelledPairs, texts: Texts) -> Material:
    return Material(Pairs(texts.data.splits.get("train", NOBODY)), texts.queries, texts.passages)


@material.register
def _two_views(examples: TwoViews, texts: Texts) -> Material:
    if examples.texts == "corpus":
        tokens, count = texts.passages, len(texts.data.passages)
    else:
        unlabelled = list(dict.fromkeys(texts.data.unlabelled))
        tokens, count = texts.cut(unlabelled), len(unlabelled)
    everyone = np.arange(count)
    pairs = Pairs(Split(everyone, Ragged(np.arange(count + 1), everyone)))
    if not examples.repetition:
        return Material(pairs, tokens, tokens)
    return Repeating(pairs, tokens, tokens, examples.repetition, texts.longest, texts.seed)


NOBODY = Split(np.zeros(0, dtype=np.int64), Ragged.of([]))
"""A split without queries, for data that has none to train on."""
