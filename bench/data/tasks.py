"""Sentence similarity tasks of other data sets, to measure an encoder with that is trained on this one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from bench.data.dataset import DataSet, appended
from bench.data.fingerprint import with_fingerprint
from bench.errors import UserError


def with_tasks(data: DataSet, others: Iterable[DataSet]) -> DataSet:
    """``data``, measured by the tasks of ``others``: their dev and test pairs, and of its own tasks those of train.

    A task that both have is one. The texts of ``others`` stand after its own queries. Raises :class:`UserError` when
    one of ``others`` has none, or two have a task of the same name.
    """
    queries = tuple(data.queries)
    tasks = {name: {"train": splits["train"]} for name, splits in data.tasks.items() if "train" in splits}
    measured: set[str] = set()
    for other in others:
        if not other.scored_tasks:
            raise UserError(f"eval.data: {other.name} has no pairs with scores")
        queries, place = appended(queries, other.queries)
        for name, splits in other.scored_tasks.items():
            if name in measured:
                raise UserError(f"eval.data: two data sets have a task called {name}; rename one of the directories")
            measured.add(name)
            held = {split: pairs.renumbered(place) for split, pairs in splits.items() if split != "train"}
            tasks[name] = {**tasks.get(name, {}), **held}
    return with_fingerprint(replace(data, queries=queries, tasks=tasks))
