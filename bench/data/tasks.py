"""Sentence similarity tasks of other data sets, to measure an encoder with that is trained on this one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from bench.data.dataset import DataSet, Ids, TextPairs
from bench.data.fingerprint import with_fingerprint
from bench.errors import UserError


def with_tasks(data: DataSet, others: Iterable[DataSet]) -> DataSet:
    """``data`` with the scored pairs of ``others`` instead of its own, and their texts after its own queries.

    Raises :class:`UserError` when one of ``others`` has none, or two have a task of the same name.
    """
    queries = {text: number for number, text in enumerate(data.queries)}
    tasks = {name: splits for name, splits in data.tasks.items() if any(pairs.classes for pairs in splits.values())}
    for other in others:
        scored = {name: s for name, s in other.tasks.items() if not any(pairs.classes for pairs in s.values())}
        if not scored:
            raise UserError(f"eval.data: {other.name} has no pairs with scores")
        place = np.array([queries.setdefault(text, len(queries)) for text in other.queries], dtype=np.int64)
        for name, splits in scored.items():
            if name in tasks:
                raise UserError(f"eval.data: two data sets have a task called {name}; rename one of the directories")
            tasks[name] = {split: _moved(pairs, place) for split, pairs in splits.items()}
    return with_fingerprint(replace(data, queries=tuple(queries), tasks=tasks))


def _moved(pairs: TextPairs, place: Ids) -> TextPairs:
    return replace(pairs, left=place[pairs.left], right=place[pairs.right])
