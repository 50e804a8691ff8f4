"""Verdicts of a cross-encoder on the hard negatives of a data set, as ``data.judged`` reads them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache as remembered
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from bench.cache import Cache, Entry
from bench.data.dataset import DataSet, Ids
from bench.data.pairs import Pairs
from bench.errors import UserError
from bench.model.config import EncoderConfig
from bench.model.cross_encoder import CrossEncoder
from bench.model.embedding import weights_digest
from bench.model.precision import resolve_precision
from bench.model.prepared import Prepared
from bench.model.presets import build
from bench.negatives.context import NegativesContext
from bench.negatives.pool_sampler import depth_of, shared_pool
from bench.progress import Task
from bench.run.truncation import tokens_of

QUERIES = 64  # whose candidates are judged, and kept, together


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
    RocketQA (Qu et al. 2021) judges what its own retriever ranks high; BM25 and 20 ranks are this project's choice.
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


@dataclass(frozen=True)
class Block:
    """Verdicts on the candidates of some queries; of ``truncated`` pairs the judge has not read the end."""

    verdicts: Sequence[Verdict]
    truncated: int


def judge(
    data: DataSet, judge: CrossEncoder, candidates: Candidates, bounds: Bounds, cache: Cache, task: Task
) -> Iterator[Block]:
    """The verdicts of ``judge`` on every candidate of every training query of ``data``.

    The probabilities of each block are kept in ``cache``, so that a judge that was interrupted continues. Raises
    :class:`UserError` for a data set without training pairs of a query and a passage.
    """
    train = data.splits.get("train")
    if train is None or len(train) == 0:
        raise UserError(f"data set {data.name} has no training pairs of a query and a passage")
    asked = candidates.of(data, judge.model.device, cache, task)
    who = f"{weights_digest(judge.model)} {judge.precision} {judge.most_tokens}"
    with task("judging", sum(map(len, asked))) as advance:
        for start in range(0, len(asked), QUERIES):
            some = zip(train.queries[start : start + QUERIES], asked[start : start + QUERIES], strict=True)
            pairs = [(data.queries[query], data.passages[passage]) for query, of in some for passage in of]
            entry = _scored(pairs, judge, who, cache)
            advance(len(pairs))
            scores = [round(float(score), 4) for score in entry.array("scores")]
            told = [Verdict(*pair, bounds.verdict(score), score) for pair, score in zip(pairs, scores, strict=True)]
            yield Block(told, int(entry.facts["truncated"]))


def _scored(pairs: Sequence[tuple[str, str]], judge: CrossEncoder, who: str, cache: Cache) -> Entry:
    """The probabilities of the pairs, as ``scores``."""

    def make(place: Path) -> dict[str, int]:
        np.save(place / "scores.npy", judge.probabilities(pairs))
        return {"truncated": judge.truncated(pairs)}

    key = hashlib.sha256(f"{who} {json.dumps(pairs)}".encode()).hexdigest()[:24]
    return cache.entry(f"judged-{key}", make)
