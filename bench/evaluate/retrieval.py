"""Evaluate vectors by retrieval: search the corpus, rank, and measure. No text is encoded here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import pandas as pd

from bench.data.dataset import Floats, Ids, Split
from bench.errors import UserError
from bench.evaluate.config import EvalConfig
from bench.evaluate.metrics import judge, means, names, per_query
from bench.search import ExactIndex, HnswIndex, IndexConfig


@dataclass(frozen=True)
class Retrieval:
    """What an evaluation found.

    ``metrics`` are means in percent: ``recall@1``, ``hit@10``, ``mrr@10``, ``ndcg@10`` by HNSW,
    ``exact/recall@1`` ... by exact search, ``dev_hard/recall@1`` and ``dev_hard/exact/recall@1`` over a
    part. Times are in seconds: ``index_s`` to build the graph, ``search_s`` to search it, ``exact_s`` for
    the whole of exact search.

    ``ranks`` has one row per query: ``query`` (id), ``n_relevant``, then of HNSW ``rank`` (of the first
    relevant passage, from 1; missing when none was retrieved), every metric's value under its name in
    ``metrics``, ``passages`` and ``scores`` (lists, best first), and the same of exact search under
    ``exact/...``.
    """

    metrics: dict[str, float]
    index_s: float
    search_s: float
    exact_s: float
    ranks: pd.DataFrame


def evaluate(
    query_vectors: Floats,
    corpus_vectors: Floats,
    split: Split,
    parts: Mapping[str, Ids],
    config: EvalConfig,
    index: IndexConfig,
    device: str = "cpu",
    seed: int = 0,
    hnsw: bool = True,
) -> Retrieval:
    """Retrieve ``config.retrieve`` passages for each query and measure them against ``split.relevant``.

    ``query_vectors`` ``[len(split), d]`` and ``corpus_vectors`` ``[P, d]`` are unit vectors, the row of a
    passage being its id. ``parts`` names rows of the split to report beside the whole. ``device`` is that
    of exact search; ``seed`` that of the HNSW graph. Without ``hnsw`` only exact search runs, only
    ``exact/...`` is measured and ``index_s`` and ``search_s`` are 0: the evaluation to use in training.

    Raises :class:`UserError` when the corpus is too small for the settings or the relevant passages, when a
    part is empty, or when a vector is not finite.
    """
    if len(query_vectors) != len(split):
        raise ValueError(f"{len(query_vectors)} query vectors for a split of {len(split)} queries")
    if config.paddle_compat:
        split, parts = _without_last(split, parts)
        query_vectors = query_vectors[: len(split)]
    _check(split, parts, len(corpus_vectors), config.retrieve)

    found: dict[str, tuple[Floats, Ids]] = {}
    index_s = search_s = 0.0
    if hnsw:
        index.check(config.retrieve)
        start = perf_counter()
        graph = HnswIndex(corpus_vectors, index, seed)
        built = perf_counter()
        found[""] = graph.search(query_vectors, config.retrieve)
        index_s, search_s = built - start, perf_counter() - built
    start = perf_counter()
    found["exact/"] = ExactIndex(corpus_vectors, device).search(query_vectors, config.retrieve)
    exact_s = perf_counter() - start

    metrics: dict[str, float] = {}
    columns: dict[str, object] = {"query": split.queries}
    for prefix, (scores, ids) in found.items():
        judged = judge(ids, split.relevant, split.grades)
        values = per_query(judged, names(config.ks, config.retrieve))
        metrics |= {prefix + name: mean for name, mean in means(values).items()}
        for part, rows in parts.items():
            of_part = means({name: column[rows] for name, column in values.items()})
            metrics |= {f"{part}/{prefix}{name}": mean for name, mean in of_part.items()}
        columns["n_relevant"] = judged.known
        columns[f"{prefix}rank"] = pd.arrays.IntegerArray(judged.first, judged.first == 0)
        columns |= {prefix + name: column for name, column in values.items()}
        columns |= {f"{prefix}passages": list(ids), f"{prefix}scores": list(scores)}
    return Retrieval(metrics, index_s, search_s, exact_s, pd.DataFrame(columns))


def _without_last(split: Split, parts: Mapping[str, Ids]) -> tuple[Split, dict[str, Ids]]:
    """The split and its parts as the documented script sees them: the last query is not there."""
    kept = np.arange(len(split) - 1)
    relevant = split.relevant.take(kept)
    grades = None if split.grades is None else split.grades[: len(relevant.values)]
    return Split(split.queries[:-1], relevant, grades), {n: r[r < len(kept)] for n, r in parts.items()}


def _check(split: Split, parts: Mapping[str, Ids], corpus: int, retrieve: int) -> None:
    for name, count in {"the split": len(split), **{f"part {n!r}": len(r) for n, r in parts.items()}}.items():
        if not count:
            raise UserError(f"{name} has no query to evaluate")
    if retrieve > corpus:
        raise UserError(
            f"eval.retrieve={retrieve} but the corpus has {corpus} passages; "
            f"set eval.retrieve and eval.ks to at most {corpus}"
        )
    beyond = np.flatnonzero(split.relevant.values >= corpus)
    if len(beyond):
        row = int(np.searchsorted(split.relevant.offsets, beyond[0], side="right")) - 1
        raise UserError(
            f"query {split.queries[row]} is relevant to passage {split.relevant.values[beyond[0]]} "
            f"but the corpus that was encoded has {corpus} passages; encode all that are relevant"
        )
