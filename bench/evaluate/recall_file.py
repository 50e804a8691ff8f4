"""``recall_result.txt`` as PaddleNLP's neural search writes it, and its score as PaddleNLP's ``evaluate.py`` has it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from bench.atomic import atomic_file
from bench.data.dataset import Floats, Ids
from bench.errors import UserError, at_least


def check_texts(texts: Iterable[str]) -> None:
    """Raise :class:`UserError` for a text that has a tab or a line break, which the format cannot hold."""
    for text in texts:
        if any(mark in text for mark in "\t\n\r"):
            raise UserError(f"eval.recall_file=true: the file cannot hold a text with a tab or a line break: {text!r}")


def write_file(path: Path, queries: Sequence[str], passages: Sequence[str], ids: Ids, scores: Floats) -> None:
    """Write a line ``query TAB passage TAB score`` for each of the ``ids`` and ``scores`` ``[Q, k]``.

    ``ids`` are rows of ``passages``. The file appears whole or not at all. The texts must fit, see :func:`check_texts`.
    """
    with atomic_file(path) as file:
        for query, row, values in zip(queries, ids, scores, strict=True):
            for passage, score in zip(row, values, strict=True):
                file.write(f"{query}\t{passages[passage]}\t{float(score)!r}\n".encode())


def evaluate_file(
    path: Path,
    pairs: Iterable[tuple[str, str]],
    k: int,
    drop_last: bool = False,
    ks: Sequence[int] = (1, 5, 10, 20, 50),
) -> dict[str, float]:
    """``recall@N`` in percent for ``N`` in ``ks`` up to ``k``, as PaddleNLP's ``evaluate.py`` defines it.

    ``pairs`` are (query, relevant text), of which the last counts for a query that comes twice; ``k`` is the
    number of lines per query. A retrieved text counts when it *equals* the relevant one, so a corpus that
    has a text twice counts it twice. ``drop_last`` reproduces the script's off-by-one: it adds up a query's
    lines only when the next query begins, so that the last one is never counted.

    Raises :class:`UserError`, with file and line, for a line that is not of the format.
    """
    at_least("k", k, 1)
    relevant = dict(pairs)
    flags: list[bool] = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            fields = line.rstrip("\n").split("\t")
            if len(fields) != 3:
                raise UserError(f"{path}:{number}: {len(fields)} fields, expected query, passage and score")
            query, passage, _ = fields
            if query not in relevant:
                raise UserError(f"{path}:{number}: no pair has the query {query!r}")
            flags.append(relevant[query] == passage)
    if len(flags) % k:
        raise UserError(f"{path}: {len(flags)} lines are not a multiple of k={k}")
    labels = np.array(flags).reshape(-1, k)[: -1 if drop_last else None]
    if not len(labels):
        raise UserError(f"{path}: no query to count")
    return {f"recall@{n}": float(100 * labels[:, :n].sum(axis=1).mean()) for n in ks if n <= k}
