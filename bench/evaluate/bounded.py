"""A smaller retrieval task from a large one, for the evaluations while training."""

from __future__ import annotations

import numpy as np

from bench.data.dataset import Ids, Ragged, Split


def bounded(split: Split, queries: int, passages: int, corpus: int) -> tuple[Split, Ids]:
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
