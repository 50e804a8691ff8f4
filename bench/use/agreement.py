"""How well an exported encoder agrees with the one it was made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.data.dataset import DataSet, Floats
from bench.evaluate.config import EvalConfig
from bench.evaluate.retrieval import Retrieval
from bench.progress import Task, unwatched
from bench.search import IndexConfig
from bench.use.embedder import TextEmbedder

Texts = Mapping[str, Sequence[str]]
"""Texts by the role that they are read in."""

SAMPLE = 100  # texts of each role that are taken from a data set
QUERIES, PASSAGES = 500, 5000  # at most so many are searched
DEPTH = 10
VARIED = (
    "a",
    "What is the capital of France?",
    "The cat sat on the mat, and the dog lay beside it.",
    "def normalise(x): return x / (x ** 2).sum() ** 0.5",
    "ACETAMINOPHEN 500 mg, 2x daily; max. 4 g/24 h (see §3.1)",
    "Grüße aus München, où l'été est déjà là; ¿qué tal?",
    "深度学习模型把句子变成向量。",
    "如何重置我的密码？请点击“忘记密码”，然后按照邮件中的说明操作。",
    "東京の天気は晴れです。 서울은 오늘 비가 옵니다.",
    "Съешь ещё этих мягких французских булок.",
    "one two three four five six seven eight nine ten " * 8,
    "A long passage repeats itself, so that it is cut at the most tokens that a text may have. " * 60,
)
"""Texts for an encoder whose data are not known: short and long ones, of several scripts."""


@dataclass(frozen=True)
class Loss:
    """What a coarser number format costs.

    ``mean`` and ``lowest`` are cosines of the vectors of ``texts`` texts with the original ones. ``recall`` is exact
    Recall@``depth`` in percent, of the original and of the export, where there is a task (:class:`Search`).
    """

    mean: float
    lowest: float
    texts: int
    recall: tuple[float, float] | None = None
    search: Search | None = None


@dataclass(frozen=True)
class Search:
    """The search of Recall@``depth``: ``queries`` queries of ``split`` over ``passages`` passages of ``corpus``."""

    split: str
    queries: int
    passages: int
    corpus: int
    depth: int


def sample(data: DataSet | None) -> Texts:
    """Texts to compare vectors of: the varied ones, and up to ``SAMPLE`` of each kind spread over a data set."""
    of_data = {"query": data.queries, "passage": data.passages} if data is not None else {}
    return {role: [*VARIED, *_spread(of_data.get(role, ()))] for role in ("query", "passage")}


def _spread(texts: Sequence[str]) -> list[str]:
    places = np.unique(np.linspace(0, len(texts) - 1, SAMPLE).round().astype(int)) if len(texts) else ()
    return [texts[place] for place in places if texts[place].strip()]


def vectors(embedder: TextEmbedder, texts: Texts) -> Floats:
    """[n, d] unit vectors of all texts, each in its role."""
    return np.concatenate([embedder.vectors(of, role) for role, of in texts.items()])


def loss(
    before: TextEmbedder,
    after: TextEmbedder,
    texts: Texts,
    data: DataSet | None = None,
    split: str = "",
    task: Task = unwatched,
) -> Loss:
    """What ``after`` loses against ``before``, in cosines and, for the retrieval ``split`` of ``data``, in recall."""
    cosines = (vectors(before, texts) * vectors(after, texts)).sum(axis=1)
    told = float(cosines.mean()), float(cosines.min()), len(cosines)
    if data is None or not data.corpus_size or split not in data.splits:
        return Loss(*told)
    depth = min(DEPTH, data.corpus_size)
    measured = Retrieval.of(data, split, EvalConfig(ks=(depth,), retrieve=depth), IndexConfig())
    measured = measured.subset(QUERIES, PASSAGES)
    search = Search(split, len(measured.split), len(measured.corpus), data.corpus_size, depth)
    return Loss(*told, (_recall(measured, before, depth, task), _recall(measured, after, depth, task)), search)


def _recall(measured: Retrieval, embedder: TextEmbedder, depth: int, task: Task) -> float:
    data, rows = measured.data, measured.texts()
    with task("measuring recall", len(rows)) as advance:
        queries = embedder.vectors([data.queries[q] for q in rows.queries.tolist()], "query", advance)
        passages = embedder.vectors([data.passages[p] for p in rows.passages.tolist()], "passage", advance)
    return measured.measure(queries, passages).metrics[f"exact/recall@{depth}"]
