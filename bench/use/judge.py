"""Verdicts of a cross-encoder on the hard negatives of a data set, as ``data.judged`` reads them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache as remembered
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from bench.cache import Cache
from bench.data.dataset import DataSet, Ids
from bench.data.pairs import Pairs
from bench.errors import UserError
from bench.model.config import EncoderConfig
from bench.model.cross_encoder import CrossEncoder
from bench.model.precision import resolve_precision
from bench.model.prepared import Prepared
from bench.model.presets import build
from bench.negatives.context import NegativesContext
from bench.negatives.pool_sampler import depth_of, shared_pool
from bench.progress import Task
from bench.run.truncation import tokens_of

QUERIES = 256  # whose candidates are judged together


@dataclass(frozen=True)
class Bounds:
    """From the probability that a passage is relevant to a verdict: ``keep`` below ``keep``, ``relabel`` above
    ``relabel``, ``drop`` between.

    Source: RocketQA (Qu et al. 2021): negatives below 0.1, positives above 0.9.
    """

    keep: float = 0.1
    relabel: float = 0.9

    def __post_init__(self) -> None:
        if not 0 <= self.keep <= self.relabel <= 1:
            raise UserError(f"keep={self.keep:g} and relabel={self.relabel:g}: they must rise from 0 to 1")

    def verdict(self, probability: float) -> str:
        """What becomes of a passage of this probability."""
        return "keep" if probability < self.keep else "relabel" if probability > self.relabel else "drop"


@dataclass(frozen=True)
class Candidates:
    """The passages of each training query that are judged: those that the data set provides as negatives, and the ranks
    ``first`` to ``last`` of a search by ``search`` (``bm25``, or an encoder's name), without labelled ones.
    """

    search: str = "bm25"
    first: int = 0
    last: int = 20

    def __post_init__(self) -> None:
        if not 0 <= self.first < self.last:
            raise UserError(f"first={self.first} and last={self.last} leave no rank; first is counted from 0")

    def of(self, data: DataSet, device: torch.device, cache: Cache, task: Task) -> list[Ids]:
        """The ids of the candidates, for each row of the training split."""
        pairs = Pairs.of(data)

        @remembered
        def prepared(name: str) -> Prepared:
            encoder = build(EncoderConfig(name), data.vocabulary_texts, device, 0)
            encoder.check_lengths()
            return Prepared(data, encoder, *tokens_of(data, encoder, cache), resolve_precision("auto", device))

        with TemporaryDirectory() as scratch:
            context = NegativesContext(data, pairs, 0, prepared, Path(scratch), cache, task=task)
            pool = shared_pool(self.search, depth_of(self.last, context), context)
        ranked = pool.entries["passage"][:, self.first : self.last].astype(np.int64)
        provided = pairs.split.negatives
        if provided is None:
            return list(ranked)
        return [np.union1d(provided[row], of_row) for row, of_row in enumerate(ranked)]


@dataclass(frozen=True)
class Verdict:
    """A verdict on a passage as negative of a query, with the probability that it is relevant."""

    query: str
    passage: str
    verdict: str
    score: float


def judge(
    data: DataSet, judge: CrossEncoder, candidates: Candidates, bounds: Bounds, cache: Cache, task: Task
) -> Iterator[Verdict]:
    """The verdict of ``judge`` on every candidate of every training query of ``data``.

    Raises :class:`UserError` for a data set without training pairs of a query and a passage.
    """
    train = data.splits.get("train")
    if train is None or len(train) == 0:
        raise UserError(f"data set {data.name} has no training pairs of a query and a passage")
    asked = candidates.of(data, judge.model.device, cache, task)
    with task("judging", sum(map(len, asked))) as advance:
        for start in range(0, len(asked), QUERIES):
            pairs = [
                (data.queries[query], data.passages[passage])
                for query, of_query in zip(
                    train.queries[start : start + QUERIES], asked[start : start + QUERIES], strict=True
                )
                for passage in of_query
            ]
            for (query, passage), score in zip(pairs, judge.probabilities(pairs, advance), strict=True):
                yield Verdict(query, passage, bounds.verdict(float(score)), round(float(score), 4))
