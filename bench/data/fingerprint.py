"""The fingerprint of a data set: a hash of every text and every relation, without the name."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bench.data.dataset import DataSet, Floats, Ids


def with_fingerprint(data: DataSet) -> DataSet:
    """``data`` with the fingerprint of its content: SHA-256 over all texts, relations and parts, in order."""
    digest = hashlib.sha256()

    def array(values: Ids | Floats | None) -> None:
        digest.update(b"-" if values is None else f"{len(values)}:".encode())
        if values is not None:
            digest.update(np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).tobytes())

    def texts(values: Sequence[str]) -> None:
        array(np.fromiter(map(len, values), dtype=np.int64, count=len(values)))
        for start in range(0, len(values), 4096):
            digest.update("".join(values[start : start + 4096]).encode())

    for group in (data.queries, data.passages, data.unlabelled):
        texts(group)
    array(np.array([data.corpus_size], dtype=np.int64))
    for name, split in data.splits.items():
        texts([name])
        negatives = split.negatives
        array(split.queries)
        for ragged in (split.relevant, negatives):
            array(None if ragged is None else ragged.offsets)
            array(None if ragged is None else ragged.values)
        for scores in (split.grades, split.positive_scores, split.negative_scores):
            array(scores)
        if split.groups is not None:
            array(split.groups)
    for name, (of, rows) in sorted(data.parts.items()):
        texts([name, of])
        array(rows)
    for task, splits in data.tasks.items():
        for name, pairs in splits.items():
            texts([task, name, *pairs.classes])
            for values in (pairs.left, pairs.right, pairs.label):
                array(values)
    return replace(data, fingerprint=digest.hexdigest())
