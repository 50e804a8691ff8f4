"""A corpus in a vector store, searched by the encoder of its run, and its recall there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.data.dataset import DataSet, Floats, Ids, Split
from bench.evaluate.config import EvalConfig
from bench.evaluate.metrics import judge, means, per_query
from bench.evaluate.ties import relevant_last
from bench.progress import Display
from bench.record.record import Record
from bench.use.corpus import Corpus, Hit, Queries, known
from bench.use.embedder import Embedder
from bench.use.milvus import MilvusStore

NOWHERE = -2.0  # the score of a place without a passage: under every cosine


@dataclass(frozen=True)
class StoredCorpus:
    """A corpus in ``store`` and the encoder that searches it, as :class:`bench.use.corpus.Corpus` does beside a run.

    Every search holds ``ef`` candidates and finds passages that fulfil the expression ``matching`` of the store.
    """

    embedder: Embedder
    store: MilvusStore
    ef: int
    matching: str
    queries: Queries

    def __len__(self) -> int:
        """The number of passages."""
        return len(self.store)

    def search(self, texts: Sequence[str], k: int) -> list[list[Hit]]:
        """The ``k`` best passages of each query, best first; fewer where fewer fulfil the expression.

        Raises :class:`UserError` for an empty query, and with what the store says of the expression.
        """
        return self.store.nearest(self.embedder.vectors(texts, "query"), k, self.ef, self.matching)


@dataclass(frozen=True)
class Recalls:
    """Recall of one split at some cut-offs, in percent by metric: as ``recorded``, by the run's ``index`` of float32
    vectors, and by the ``store`` with the same vectors. A metric that the record does not have is None."""

    recorded: Mapping[str, float | None]
    index: Mapping[str, float]
    store: Mapping[str, float]


def recalls(corpus: Corpus, store: MilvusStore, ef: int, data: DataSet, record: Record, display: Display) -> Recalls:
    """Search all queries of the record's split, whole, in the index and in the store, at the record's cut-offs."""
    config: EvalConfig = known(EvalConfig, record.config["eval"])
    split, metrics = data.splits[record.split], [f"recall@{k}" for k in config.ks]
    asked = [data.queries[query] for query in split.queries.tolist()]
    with display.task("embedding the queries", len(asked)) as advance:
        vectors = corpus.embedder.vectors(asked, "query", advance)
    depth = min(config.retrieve + 1, len(corpus))  # one more shows whether a tie goes on
    by_index = corpus.index.search(vectors, min(depth, ef))
    with display.task("searching the store"):
        by_store = _ranking(store.nearest(vectors, depth, ef, texts=False), depth, corpus.by_id)
    of_index, of_store = (_recall(split, *found, config.retrieve, metrics) for found in (by_index, by_store))
    return Recalls({name: record.metrics.get(name) for name in metrics}, of_index, of_store)


def _ranking(found: Sequence[Sequence[Hit]], depth: int, places: Mapping[str, int]) -> tuple[Floats, Ids]:
    """Scores and places [Q, depth] of the hits; where there are fewer, place -1."""
    scores = np.full((len(found), depth), NOWHERE, dtype=np.float32)
    ids = np.full((len(found), depth), -1)
    for row, hits in enumerate(found):
        scores[row, : len(hits)] = [hit.score for hit in hits]
        ids[row, : len(hits)] = [places[hit.id] for hit in hits]
    return scores, ids


def _recall(split: Split, scores: Floats, ids: Ids, retrieve: int, metrics: Sequence[str]) -> dict[str, float]:
    """The mean over queries, with ties as an evaluation has them."""
    judged = judge(ids[:, :retrieve], split.relevant, split.grades)
    settled, _ = relevant_last(
        judged, scores[:, :retrieve], scores[:, retrieve:], lambda rows, _: np.zeros(len(rows), bool)
    )
    return means(per_query(settled, metrics))
