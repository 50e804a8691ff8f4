"""Sentence similarity: how well the cosine of two texts orders pairs as their scores do."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from inspect import getsource
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd

from bench.data.dataset import DataSet, Floats, Ids, TextPairs
from bench.errors import UserError
from bench.evaluate import correlation
from bench.evaluate.base import Evaluation, Measured, Rows
from bench.evaluate.config import EvalConfig
from bench.record.schema import SIMILARITY
from bench.search.base import IndexConfig

WORST = 50  # pairs that are kept in words
LONGEST = 400  # characters of a text that are kept
CORRELATIONS = {"spearman": correlation.spearman, "pearson": correlation.pearson}


@dataclass(frozen=True)
class Similarity(Evaluation):
    """The pairs of the split ``name`` of every task of ``data``.

    Raises :class:`UserError` for a task whose scores are all equal, or that has fewer than three pairs.
    """

    data: DataSet
    name: str
    tasks: Mapping[str, TextPairs]

    schema = SIMILARITY

    def __post_init__(self) -> None:
        if not self.tasks:
            raise UserError(f"data set {self.data.name} has no pairs with scores in its split {self.name}")
        for task, pairs in self.tasks.items():
            if len(pairs) < 3:
                raise UserError(f"task {task}: {self.name} has {len(pairs)} pairs; a correlation needs three")
            if len(np.unique(pairs.label)) == 1:
                raise UserError(
                    f"task {task}: all pairs of {self.name} have the score {pairs.label[0]:g}; a correlation needs two"
                )

    @classmethod
    def of(
        cls, data: DataSet, name: str, config: EvalConfig, index: IndexConfig, device: str = "cpu", seed: int = 0
    ) -> Similarity:
        """The evaluation of the split ``name``; what is about search in the settings has no use here."""
        return cls(data, name, data.scored(name))

    @classmethod
    def splits(cls, data: DataSet) -> Collection[str]:
        """The splits that every task with scores has; a task of which there is only train is not measured."""
        scored = [set(splits) for splits in data.scored_tasks.values()]
        held = [splits for splits in scored if splits != {"train"}]
        return set.intersection(*(held or scored)) if scored else set()

    @classmethod
    def selected_by(cls, config: EvalConfig) -> str:
        return cls.schema.headline

    @property
    def key(self) -> Any:
        return [self.schema.name, sha256(getsource(correlation).encode()).hexdigest(), self.name]

    def texts(self) -> Rows:
        tasks = {name: pairs.texts for name, pairs in self.tasks.items()}
        return Rows(np.concatenate(list(tasks.values())), np.zeros(0, dtype=np.int64), tasks)

    def subset(self, queries: int, passages: int) -> Similarity:
        """The first pairs of every task, ``queries`` in all."""
        share = max(3, queries // len(self.tasks))
        return replace(self, tasks={task: pairs.first(share) for task, pairs in self.tasks.items()})

    def measure(self, queries: Floats, passages: Floats) -> Measured:
        """Metrics are ``spearman`` and ``pearson`` (the mean over tasks), ``weighted/...`` (the mean over pairs' tasks)
        and ``TASK/...``, each times 100. The values of a pair average to the metrics of the mean over tasks, see
        :mod:`bench.evaluate.correlation`.
        """
        start = perf_counter()
        total, start_of = sum(map(len, self.tasks.values())), 0
        tables, of_task = [], {}
        for task, pairs in self.tasks.items():
            texts = pairs.texts
            cosine = _cosine(queries[start_of : start_of + len(texts)], texts, pairs)
            start_of += len(texts)
            values = {n: 100 * f(cosine, pairs.label.astype(np.float64)) for n, f in CORRELATIONS.items()}
            of_task[task] = {name: float(value.mean()) for name, value in values.items()}
            if not np.isfinite(list(of_task[task].values())).all():
                raise UserError(f"task {task}: the cosines of all pairs are equal, so there is no correlation")
            tables.append(pd.DataFrame({"task": task, "score": pairs.label, "cosine": cosine, **values}))
        sizes = np.array([len(pairs) for pairs in self.tasks.values()])
        metrics: dict[str, float] = {}
        for name in CORRELATIONS:
            found = np.array([of_task[task][name] for task in self.tasks])
            metrics[name] = float(found.mean())
            metrics[f"weighted/{name}"] = float(found @ sizes / total)
            metrics |= {f"{task}/{name}": value[name] for task, value in of_task.items()}
            for table, value, size in zip(
                tables, found, sizes, strict=True
            ):  # tasks count equally, whatever their size
                table[name] = metrics[name] + (table[name] - value) * (total / (len(tables) * size))
        items = pd.concat(tables, ignore_index=True)
        items.insert(0, "pair", np.arange(total))
        counts = {"items": total} | {
            f"{task}/distinct_scores": len(np.unique(p.label)) for task, p in self.tasks.items()
        }
        return Measured(metrics, items, {"correlate_s": perf_counter() - start}, self._hardest(items), counts)

    def _hardest(self, items: pd.DataFrame) -> list[dict[str, Any]]:
        """The pairs whose ranks by score and by cosine differ most within their task, in words."""
        by_task = items.groupby("task", sort=False)
        off = by_task["cosine"].rank(pct=True) - by_task["score"].rank(pct=True)
        left, right = (np.concatenate([getattr(p, side) for p in self.tasks.values()]) for side in ("left", "right"))
        return [
            {
                "row": row,
                "task": str(items["task"][row]),
                "left": self.data.queries[left[row]][:LONGEST],
                "right": self.data.queries[right[row]][:LONGEST],
                "score": float(items["score"][row]),
                "cosine": float(items["cosine"][row]),
            }
            for row in np.argsort(-off.abs().to_numpy(), kind="stable")[:WORST].tolist()
        ]

    def write_files(self, measured: Measured, directory: Path) -> None:
        """There are no further files."""


def _cosine(vectors: Floats, texts: Ids, pairs: TextPairs) -> correlation.Values:
    """[n] cosine of the two texts of each pair; ``vectors`` are those of ``texts``, which are ``pairs.texts``."""
    left, right = (vectors[np.searchsorted(texts, side)] for side in (pairs.left, pairs.right))
    return np.asarray(np.einsum("nd,nd->n", left, right, dtype=np.float64))
