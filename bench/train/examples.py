"""The examples of a stage as tokens, from their declaration in :mod:`strategies.examples`.

Each kind of declaration registers its implementation with :func:`examples_of`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import singledispatch

import numpy as np
import torch

from bench.data.dataset import DataSet, Ids, Ragged, Split
from bench.data.labels import class_names, class_numbers, graded, scaled
from bench.data.pairs import Pairs
from bench.data.tokens import Tokens
from bench.model.encoder import Encoded, Encoder
from bench.negatives import Drawn, Side
from bench.train.batch import Embedded, Surroundings, to_batch
from bench.train.both_ways import BothWaysExamples, same_texts
from bench.train.example_set import ExampleSet, Parts, Request
from bench.train.labelled import LabelledExamples
from bench.train.repetition import repeated
from strategies.batch import Batch
from strategies.examples import BothWays, ClassifiedPairs, Examples, LabelledPairs, ScoredPairs, TaskPairs, TwoViews

REPETITION = 3  # what its stream of random numbers is for; sampling has the numbers before


@dataclass(frozen=True)
class _PairRequest(Request):
    """Each distinct text once: the ``queries`` that stand at ``place`` of them, then the passages ``passage_ids``."""

    parts: Parts
    pairs: Pairs
    place: Ids
    query_ids: Ids
    positive_ids: Ids
    passage_ids: Ids
    own_ids: Ids | None

    def batch(self, encoded: Encoded, around: Surroundings) -> Batch:
        vectors, queries = encoded.unit, len(self.parts[0][1])

        def on_device(ids: Ids) -> torch.Tensor:
            return torch.from_numpy(ids).to(vectors.device)

        mine = Embedded(
            vectors[:queries][on_device(self.place)],
            vectors[queries:],
            on_device(self.query_ids),
            on_device(self.positive_ids),
            on_device(self.passage_ids),
            None if self.own_ids is None else on_device(self.own_ids),
        )
        return to_batch(mine, self.pairs, around)


@dataclass(frozen=True)
class PairExamples(ExampleSet):
    """(query, positive) pairs and the tokens of their two sides, by the ids that the pairs use."""

    pairs: Pairs
    queries: Tokens
    positives: Tokens

    def __len__(self) -> int:
        return len(self.pairs)

    def request(self, rows: Ids, drawn: Drawn | None, step: int, rank: int = 0) -> Request:
        query_ids, positive_ids = self.pairs.query[rows], self.pairs.positive[rows]
        own_ids = None if drawn is None else drawn.ids
        both = positive_ids if own_ids is None else np.concatenate([positive_ids, own_ids.ravel()])
        passages = np.unique(both)
        queries, place = np.unique(query_ids, return_inverse=True)
        parts = self.parts(queries, passages, step, rank)
        return _PairRequest(parts, self.pairs, place, query_ids, positive_ids, passages, own_ids)

    def parts(self, queries: Ids, passages: Ids, step: int, rank: int) -> Parts:
        """The texts of a batch, first the queries."""
        return [(self.queries, queries), (self.positives, passages)]

    def vocabulary(self, reach: Ids) -> Ids:
        passages = np.union1d(self.pairs.positive, reach)
        queries = np.unique(self.pairs.query)
        return np.unique(np.concatenate([self.queries.take(queries), self.positives.take(passages)]))

    def sides(self) -> tuple[Side, Side]:
        return (self.queries, np.unique(self.pairs.query)), (self.positives, np.unique(self.pairs.positive))


@dataclass(frozen=True)
class RepeatingExamples(PairExamples):
    """Two views of one text, in each of which some tokens are repeated."""

    share: float
    longest: int
    seed: int

    def parts(self, queries: Ids, passages: Ids, step: int, rank: int) -> Parts:
        rng = np.random.default_rng([self.seed, REPETITION, step, *([rank] if rank else [])])
        return [
            (repeated(tokens, rows, self.share, self.longest, rng), np.arange(len(rows)))
            for tokens, rows in ((self.queries, queries), (self.positives, passages))
        ]


@dataclass(frozen=True)
class Texts:
    """The source of examples: a data set with its ``queries`` and ``passages`` as tokens of ``encoder``.

    ``cut`` tokenises other texts; no text may have more than ``longest`` tokens.
    """

    data: DataSet
    queries: Tokens
    passages: Tokens
    cut: Callable[[Sequence[str]], Tokens]
    longest: int
    seed: int
    encoder: Encoder


@singledispatch
def examples_of(declared: Examples, texts: Texts) -> ExampleSet:
    """The examples that ``declared`` describes, from ``texts``."""
    raise TypeError(f"there is no implementation of {type(declared).__name__}")


@examples_of.register
def _labelled_pairs(declared: LabelledPairs, texts: Texts) -> ExampleSet:
    return PairExamples(Pairs.of(texts.data), texts.queries, texts.passages)


@examples_of.register
def _both_ways(declared: BothWays, texts: Texts) -> ExampleSet:
    pairs = Pairs.of(texts.data)
    return BothWaysExamples(
        pairs,
        texts.queries,
        texts.passages,
        same_texts(texts.data.queries, texts.data.passages, pairs),
        texts.encoder,
        declared,
        texts.seed,
    )


@examples_of.register
def _two_views(declared: TwoViews, texts: Texts) -> ExampleSet:
    if declared.texts == "corpus":
        tokens, count = texts.passages, len(texts.data.passages)
    else:
        unlabelled = list(dict.fromkeys(texts.data.unlabelled))
        tokens, count = texts.cut(unlabelled), len(unlabelled)
    everyone = np.arange(count)
    pairs = Pairs(Split(everyone, Ragged(np.arange(count + 1), everyone)))
    if not declared.repetition:
        return PairExamples(pairs, tokens, tokens)
    return RepeatingExamples(pairs, tokens, tokens, declared.repetition, texts.longest, texts.seed)


@examples_of.register
def _task_pairs(declared: TaskPairs, texts: Texts) -> ExampleSet:
    found = texts.data.text_pairs("train").values()
    return LabelledExamples.of(texts.queries, found, lambda pairs: np.zeros(len(pairs), dtype=np.float32))


@examples_of.register
def _scored(declared: ScoredPairs, texts: Texts) -> ExampleSet:
    return LabelledExamples.of(texts.queries, graded(texts.data).values(), scaled)


@examples_of.register
def _classified(declared: ClassifiedPairs, texts: Texts) -> ExampleSet:
    found = texts.data.classified("train").values()
    names = class_names(found)
    return LabelledExamples.of(texts.queries, found, lambda pairs: class_numbers(pairs, names))
