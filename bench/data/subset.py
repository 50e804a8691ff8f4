"""Smaller data sets, and smaller retrieval tasks from a split, for quick runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from bench.data.dataset import DataSet, Floats, Ids, Ragged, Split, TextPairs
from bench.data.fingerprint import with_fingerprint
from bench.data.pairs import NOBODY
from bench.errors import UserError, at_least


def subset(data: DataSet, max_train: int | None = None, max_corpus: int | None = None) -> DataSet:
    """``data`` with at most ``max_train`` training pairs and ``max_corpus`` searched passages; None: no limit.

    ``max_train`` keeps the first pairs, queries in the order of their first line, and the first pairs of every task's
    train. ``max_corpus`` keeps every positive of every split (after ``max_train``) and the first other passages of the
    corpus, in its order; provided negatives that are no longer in the corpus stay as passages that are not searched.
    Texts that nothing refers to any more are dropped. Dev and test stay unchanged. Raises :class:`UserError` when the
    positives in the corpus alone are more than ``max_corpus``.
    """
    for key, limit in (("data.max_train", max_train), ("data.max_corpus", max_corpus)):
        if limit is not None:
            at_least(key, limit, 1)
    splits, parts, tasks = dict(data.splits), dict(data.parts), _tasks(data, max_train)
    if max_train is not None and "train" in splits and max_train < len(splits["train"].relevant.values):
        splits["train"] = _first_pairs(splits["train"], max_train)
        kept = len(splits["train"])
        parts = {n: (of, rows[rows < kept] if of == "train" else rows) for n, (of, rows) in parts.items()}
    elif tasks is data.tasks and (max_corpus is None or max_corpus >= data.corpus_size):
        return data
    searched = _searched(data, splits, max_corpus)
    named = np.concatenate([NOBODY.queries, *(ids for split in splits.values() for ids in _passages(split))])
    passages = np.concatenate([searched, np.setdiff1d(named, searched)])
    of_tasks = (pairs.texts for of in tasks.values() for pairs in of.values())
    queries = np.unique(np.concatenate([NOBODY.queries, *(split.queries for split in splits.values()), *of_tasks]))
    place = np.empty(len(data.queries), dtype=np.int64)
    place[queries] = np.arange(len(queries))
    return with_fingerprint(
        replace(
            data,
            queries=tuple(data.queries[q] for q in queries.tolist()),
            passages=tuple(data.passages[p] for p in passages.tolist()),
            splits={name: _renumbered(split, queries, passages) for name, split in splits.items()},
            parts=parts,
            searchable=len(searched),
            passage_ids=tuple(map(data.passage_name, searched.tolist())),
            query_ids=tuple(map(data.query_name, queries.tolist())) if data.query_ids else (),
            tasks={name: {s: p.renumbered(place) for s, p in of.items()} for name, of in tasks.items()},
        )
    )


def _tasks(data: DataSet, max_train: int | None) -> Mapping[str, Mapping[str, TextPairs]]:
    """The tasks with at most ``max_train`` pairs of train each."""
    if max_train is None or all(len(pairs) <= max_train for pairs in data.text_pairs("train").values()):
        return data.tasks
    return {
        name: {split: pairs.first(max_train) if split == "train" else pairs for split, pairs in of.items()}
        for name, of in data.tasks.items()
    }


def _first_pairs(split: Split, pairs: int) -> Split:
    """The first ``pairs`` pairs of a split, with the queries that have one of them."""
    offsets = np.minimum(split.relevant.offsets, pairs)
    rows = int(np.count_nonzero(np.diff(offsets)))  # they are the first ones, as no row is empty
    negatives, negative_scores = split.negatives, split.negative_scores
    if negatives is not None:
        end = negatives.offsets[rows]
        negative_scores = _head(negative_scores, end)
        negatives = Ragged(negatives.offsets[: rows + 1], negatives.values[:end])
    return Split(
        split.queries[:rows],
        Ragged(offsets[: rows + 1], split.relevant.values[:pairs]),
        _head(split.grades, pairs),
        negatives,
        _head(split.positive_scores, pairs),
        negative_scores,
        None if split.groups is None else split.groups[:rows],
    )


def _head(values: Floats | None, size: int) -> Floats | None:
    return None if values is None else values[:size]


def _searched(data: DataSet, splits: Mapping[str, Split], max_corpus: int | None) -> Ids:
    """The passages that remain in the corpus, in its order."""
    corpus = np.arange(data.corpus_size)
    if max_corpus is None or max_corpus >= len(corpus):
        return corpus
    positives = np.intersect1d(corpus, np.concatenate([split.relevant.values for split in splits.values()]))
    if len(positives) > max_corpus:
        raise UserError(
            f"data.max_corpus={max_corpus} is less than the {len(positives)} passages that are relevant to a "
            f"query of {', '.join(splits)}; raise it, or lower data.max_train"
        )
    return np.union1d(positives, np.setdiff1d(corpus, positives)[: max_corpus - len(positives)])


def _passages(split: Split) -> list[Ids]:
    """The ids of all passages that a split names, in groups."""
    return [split.relevant.values, *([split.negatives.values] if split.negatives is not None else [])]


def _renumbered(split: Split, queries: Ids, passages: Ids) -> Split:
    """``split`` with the places of its ids in ``queries`` and ``passages`` for ids."""
    new_id = np.empty(passages.max() + 1, dtype=np.int64)
    new_id[passages] = np.arange(len(passages))

    def renumbered(rows: Ragged) -> Ragged:
        return Ragged(rows.offsets, new_id[rows.values])

    return replace(
        split,
        queries=np.searchsorted(queries, split.queries),
        relevant=renumbered(split.relevant),
        negatives=None if split.negatives is None else renumbered(split.negatives),
    )


def subset_split(split: Split, queries: int, passages: int, corpus: int) -> tuple[Split, Ids]:
    """The first ``queries`` of a split, and the ids of a smaller corpus: all relevant to them, then the first others.

    The split that is returned counts passages within the smaller corpus, which holds at least all relevant
    ones and at most ``passages`` where they leave room.
    """
    rows = np.arange(min(queries, len(split)))
    relevant = split.relevant.take(rows)
    needed = np.unique(relevant.values)
    others = np.setdiff1d(np.arange(corpus), needed, assume_unique=True)
    kept = np.union1d(needed, others[: max(0, passages - len(needed))])
    inside = Ragged(relevant.offsets, np.searchsorted(kept, relevant.values))
    grades = None if split.grades is None else split.grades[: len(inside.values)]
    return Split(split.queries[rows], inside, grades), kept
