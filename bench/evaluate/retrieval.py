"""Retrieval: search the corpus for every query, rank, and measure, by an index and exactly."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from hashlib import sha256
from inspect import getsource
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.atomic import explain_write_errors
from bench.data.dataset import DataSet, Floats, Ids, Split
from bench.data.subset import subset_split
from bench.errors import UserError
from bench.evaluate import metrics, ties
from bench.evaluate.base import Evaluation, Measured, Rows
from bench.evaluate.config import EvalConfig, fitting_ks
from bench.evaluate.geometry import NEAREST, hubness, mean_norm
from bench.evaluate.hardest import hardest_queries
from bench.evaluate.metrics import judge, means, names, per_query
from bench.evaluate.recall_file import check_texts, write_file
from bench.phases import phase
from bench.record.schema import RETRIEVAL
from bench.search import ExactIndex, IndexConfig, build

WORST = 50  # queries that are kept in words
BY_CHANCE = "{} threads built the graph, so recall may differ by a few queries between two runs (index.build_threads)"


@dataclass(frozen=True)
class Retrieval(Evaluation):
    """The queries of ``split``, which is ``name`` of ``data``, search the passages ``corpus`` (ids, in order).

    ``split.relevant`` counts passages within ``corpus``. ``parts`` names rows of the split to report beside the
    whole. ``device`` is that of exact search; ``seed`` that of the index. Without ``final`` only exact search runs
    and no query is kept in words. Raises :class:`UserError` when the corpus is too small for the settings or lacks
    a relevant passage, when a part is empty, when ``recall_file`` cannot hold a text, and when the package of the
    index's engine is not installed.
    """

    data: DataSet
    name: str
    split: Split
    corpus: Ids
    parts: Mapping[str, Ids]
    config: EvalConfig
    index: IndexConfig
    device: str = "cpu"
    seed: int = 0
    final: bool = True

    schema = RETRIEVAL

    def __post_init__(self) -> None:
        check_task(self.split, self.parts, len(self.corpus), self.config, self.data.name)
        if self.final:
            self.index.require()
        if self.final and self.config.recall_file:
            check_texts(self.data.queries[query] for query in self.split.queries)
            check_texts(self.data.passages[passage] for passage in self.corpus)

    @classmethod
    def of(
        cls, data: DataSet, name: str, config: EvalConfig, index: IndexConfig, device: str = "cpu", seed: int = 0
    ) -> Retrieval:
        """The evaluation of the split ``name`` of ``data`` that the settings ask for."""
        split, corpus = data.splits[name], np.arange(data.corpus_size)
        if config.max_corpus is not None:
            split, corpus = subset_split(split, len(split), config.max_corpus, len(corpus))
        parts = {part: rows for part, (of, rows) in data.parts.items() if of == name}
        return cls(data, name, split, corpus, parts, config, index, device, seed)

    @classmethod
    def splits(cls, data: DataSet) -> Collection[str]:
        return data.splits

    @classmethod
    def selected_by(cls, config: EvalConfig) -> str:
        """Exact MRR at 10, or at ``retrieve`` if that is smaller."""
        return f"exact/mrr@{min(10, config.retrieve)}"

    @property
    def key(self) -> Any:
        reported = names(self.config.ks, self.config.retrieve)
        source = getsource(metrics) + getsource(ties)
        definitions = sha256(source.encode()).hexdigest()  # a changed one is measured anew
        return [self.schema.name, reported, definitions, self.name, asdict(self.config), asdict(self.index), self.seed]

    def texts(self) -> Rows:
        return Rows(self.split.queries, self.corpus)

    def subset(self, queries: int, passages: int) -> Retrieval:
        """The first queries against a smaller corpus: all that is relevant to them and the first others."""
        split, corpus = subset_split(self.split, queries, passages, len(self.corpus))
        return replace(self, split=split, corpus=self.corpus[corpus], parts={}, final=False)

    def measure(self, queries: Floats, passages: Floats) -> Measured:
        found = evaluate(
            queries, passages, self.split, self.parts, self.config, self.index, self.device, self.seed, self.final
        )
        if self.final:
            found.items.insert(1, "query_id", [self.data.query_name(query) for query in found.items["query"]])
        for prefix in ("", "exact/"):
            if f"{prefix}passages" in found.items:
                places = [self.corpus[ids] for ids in found.items[f"{prefix}passages"]]
                found.items[f"{prefix}passages"] = places
                if self.final:  # only the final items are written
                    found.items[f"{prefix}passage_ids"] = [[*map(self.data.passage_name, p)] for p in places]
        return replace(found, hardest=hardest_queries(self.data, self.name, found.items, WORST) if self.final else ())

    def worst_table(self, measured: Measured) -> pd.DataFrame:
        """The hardest queries, each with what came first instead."""
        columns = ["query", "rank", "retrieved", "score"]
        worst = ((w, w["retrieved"][0]) for w in measured.hardest)
        rows = [[w["query"], w["rank"], first["text"], first["score"]] for w, first in worst]
        return pd.DataFrame(rows, columns=columns).astype({"rank": "Int64"})

    def write_files(self, measured: Measured, directory: Path) -> None:
        if not self.config.recall_file:
            return
        items, path = measured.items, directory / "recall_result.txt"
        asked = [self.data.queries[query] for query in items["query"]]
        ids, scores = np.stack(items["passages"].tolist()), np.stack(items["scores"].tolist())
        with explain_write_errors(path):
            write_file(path, asked, self.data.passages, ids, scores)


def evaluate(
    query_vectors: Floats,
    corpus_vectors: Floats,
    split: Split,
    parts: Mapping[str, Ids],
    config: EvalConfig,
    index: IndexConfig,
    device: str = "cpu",
    seed: int = 0,
    by_index: bool = True,
) -> Measured:
    """Retrieve ``config.retrieve`` passages for each query and measure them against ``split.relevant``.

    ``query_vectors`` ``[len(split), d]`` and ``corpus_vectors`` ``[P, d]`` are unit vectors, the row of a
    passage being its id. ``parts`` names rows of the split to report beside the whole. ``device`` is that
    of exact search; ``seed`` that of the index. Without ``by_index`` only exact search runs and only
    ``exact/...`` is measured: the evaluation to use in training.

    Metrics are ``recall@1``, ``hit@10``, ``mrr@10``, ``ndcg@10`` by the index, ``exact/recall@1`` ... by exact search,
    ``dev_hard/recall@1`` and ``dev_hard/exact/recall@1`` over a part. Relevant passages rank last among passages of
    equal score, see :mod:`bench.evaluate.ties`; counts say for how many queries that decides the rank (``tied``,
    ``exact/tied``). Phases of the cost are ``index``, ``search`` and ``exact``, which is all of exact search. Items
    have ``query`` (id), ``n_relevant``, then of the index ``rank`` (of the first relevant passage, from 1; missing when
    none was retrieved), the metrics, ``passages`` and ``scores`` (lists, best first), and the same of exact search
    under ``exact/...``.

    Its geometry, by the index, is ``mean_norm`` and ``hubness@10`` of the corpus, and ``index_loss@K``, the points of
    recall that exact search finds more.

    Raises :class:`UserError` when the corpus is too small for the settings or the relevant passages, when a
    part is empty, or when a vector is not finite.
    """
    if len(query_vectors) != len(split):
        raise ValueError(f"{len(query_vectors)} query vectors for a split of {len(split)} queries")
    if config.paddle_compat:
        split, parts = _without_last(split, parts)
        query_vectors = query_vectors[: len(split)]
    check_task(split, parts, len(corpus_vectors), config)

    found: dict[str, tuple[Floats, Ids]] = {}
    cost: dict[str, float] = {}
    deeper = min(config.retrieve + 1, len(corpus_vectors))  # one more shows whether a tie goes on beyond the last
    if by_index:
        index.check(config.retrieve)
        with phase("index", cost):
            searched = build(corpus_vectors, index, seed)
        with phase("search", cost):
            found[""] = searched.search(query_vectors, min(deeper, index.most))
        del searched  # it holds the vectors once more
    with phase("exact", cost, device):
        found["exact/"] = ExactIndex(corpus_vectors, device).search(query_vectors, deeper)

    at_score = partial(_at_score, split, query_vectors, corpus_vectors)
    measured = _measured(found, cost, split, parts, config, at_score)
    if not by_index:
        return measured
    geometry = _geometry(corpus_vectors, found["exact/"][1], measured.metrics, config)
    by_chance = () if index.repeats else (BY_CHANCE.format(index.builders),)
    return replace(measured, geometry=geometry, warnings=(*measured.warnings, *by_chance))


def _geometry(corpus: Floats, found: Ids, metrics: Mapping[str, float], config: EvalConfig) -> dict[str, float]:
    """The geometry of the corpus, of which exact search ``found`` [Q, k] passages, and what the index loses of it."""
    nearest = min(NEAREST, config.retrieve)
    return {
        "mean_norm": mean_norm(corpus),
        f"hubness@{nearest}": hubness(found[:, :nearest], len(corpus)),
        **{f"index_loss@{k}": metrics[f"exact/recall@{k}"] - metrics[f"recall@{k}"] for k in config.ks},
    }


def _measured(
    found: Mapping[str, tuple[Floats, Ids]],
    cost: Mapping[str, float],
    split: Split,
    parts: Mapping[str, Ids],
    config: EvalConfig,
    at_score: ties.AtScore,
) -> Measured:
    """The measurements of the rankings ``found``, by the prefix of their names."""
    measured: dict[str, float] = {}
    counts: dict[str, int] = {"items": len(split)}
    columns: dict[str, object] = {"query": split.queries}
    for prefix, (scores, ids) in found.items():
        scores, beyond = scores[:, : config.retrieve], scores[:, config.retrieve :]
        ids = ids[:, : config.retrieve]
        judged, tied = ties.relevant_last(judge(ids, split.relevant, split.grades), scores, beyond, at_score)
        counts[f"{prefix}tied"] = int(tied.sum())
        values = per_query(judged, names(config.ks, config.retrieve))
        measured |= {prefix + name: mean for name, mean in means(values).items()}
        for part, rows in parts.items():
            of_part = means({name: column[rows] for name, column in values.items()})
            measured |= {f"{part}/{prefix}{name}": mean for name, mean in of_part.items()}
        columns["n_relevant"] = judged.known
        columns[f"{prefix}rank"] = pd.arrays.IntegerArray(judged.first, judged.first == 0)
        columns |= {prefix + name: column for name, column in values.items()}
        columns |= {f"{prefix}passages": list(ids), f"{prefix}scores": list(scores)}
    told = tuple(ties.warnings(counts["exact/tied"], len(split)))
    return Measured(measured, pd.DataFrame(columns), cost, counts=counts, warnings=told)


def _at_score(split: Split, queries: Floats, corpus: Floats, rows: Ids, scores: Floats) -> NDArray[np.bool_]:
    """[rows] whether a relevant passage of the query has the given one of ``scores``, equal as ties are."""
    row = np.repeat(np.arange(len(rows)), split.relevant.lengths[rows])
    own = np.einsum("rd,rd->r", queries[rows[row]], corpus[split.relevant.take(rows).values])
    equal = np.abs(own - scores[row]) <= ties.TOLERANCE
    if split.grades is not None:
        equal &= split.grades[split.relevant.positions(rows)] > 0
    return np.bincount(row[equal], minlength=len(rows)) > 0


def _without_last(split: Split, parts: Mapping[str, Ids]) -> tuple[Split, dict[str, Ids]]:
    """The split and its parts as PaddleNLP's ``evaluate.py`` sees them: the last query is not there."""
    kept = np.arange(len(split) - 1)
    relevant = split.relevant.take(kept)
    grades = None if split.grades is None else split.grades[: len(relevant.values)]
    return Split(split.queries[:-1], relevant, grades), {n: r[r < len(kept)] for n, r in parts.items()}


def check_task(split: Split, parts: Mapping[str, Ids], corpus: int, config: EvalConfig, name: str = "") -> None:
    """Raise :class:`UserError` when ``corpus`` passages cannot be searched as ``config`` asks."""
    for what, count in {"the split": len(split), **{f"part {n!r}": len(r) for n, r in parts.items()}}.items():
        if not count:
            raise UserError(f"{what} has no query to evaluate")
    if config.retrieve > corpus:
        smaller = " ".join(filter(None, [f"eval.retrieve={corpus}", fitting_ks(config.ks, corpus)]))
        of = f" of {name}" if name else ""
        raise UserError(f"eval.retrieve={config.retrieve}, but the corpus{of} has {corpus} passages; set {smaller}")
    beyond = np.flatnonzero(split.relevant.values >= corpus)
    if len(beyond):
        row = int(np.searchsorted(split.relevant.offsets, beyond[0], side="right")) - 1
        raise UserError(
            f"query {split.queries[row]} is relevant to passage {split.relevant.values[beyond[0]]} "
            f"but the corpus that was encoded has {corpus} passages; encode all that are relevant"
        )
