"""Generated queries: what ``bench generate`` wrote for the queries of train, as further training pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.data.dataset import DataSet, Floats, Ids, Ragged, Split
from bench.data.fingerprint import with_fingerprint
from bench.data.tables import read_table
from bench.data.validation import Problems
from bench.errors import UserError


def with_generated(data: DataSet, path: Path, per_query: int | None) -> DataSet:
    """``data`` whose train has up to ``per_query`` generated texts of each query (None: all) as queries of their own.

    A line of the file has ``text``, a query, and ``generated``, a list of objects with ``text``, best first
    (``bench generate --out``). A generated query has the positives, the provided negatives and the scores of the query
    that it was made from. One that equals another query of any split is left out. What was left out, and how many
    queries have none, is counted in ``notices``. Raises :class:`UserError` for a data set without training pairs, and
    :class:`~bench.data.validation.DataError` for a file that cannot be read.
    """
    train = data.splits.get("train")
    if train is None:
        raise UserError(f"data.generated: data set {data.name} has no training pairs of a query and a passage")
    problems = Problems()
    found = _read(path, problems)
    problems.raise_if_any()
    texts: dict[str, int] = {text: number for number, text in enumerate(data.queries)}
    rows, added, none = [], [], 0
    for row, query in enumerate(train.queries.tolist()):
        made = found.get(data.queries[query], ())[:per_query]
        none += not made
        for text in made:
            if text in texts:
                problems.tell("generated queries that equal another query, left out")
            else:
                added.append(texts.setdefault(text, len(texts)))
                rows.append(row)
    if none == len(train) and per_query != 0:
        raise UserError(
            f"data.generated={path}: no text in it is a training query of {data.name}; generate for its queries with "
            "bench generate RUN --texts QUERIES.txt --out FILE.jsonl"
        )
    if per_query != 0:
        problems.tell("train queries without a generated one", none)
    longer = _repeated(train, np.array(added, dtype=np.int64), np.array(rows, dtype=np.int64))
    return with_fingerprint(
        replace(
            data,
            queries=tuple(texts),
            splits={**data.splits, "train": longer},
            notices={**data.notices, **problems.notices},
        )
    )


def _read(path: Path, problems: Problems) -> Mapping[str, Sequence[str]]:
    """The generated texts of each text."""
    found: dict[str, Sequence[str]] = {}
    table = read_table(path, problems)
    for line, row in table.rows if table is not None else ():
        text, made = row.get("text"), row.get("generated")
        texts = [one.get("text") for one in made if isinstance(one, dict)] if isinstance(made, list) else None
        if not isinstance(text, str) or texts is None or not all(isinstance(one, str) and one.strip() for one in texts):
            problems.add(path, line, "is no line of bench generate --out", "text, and generated: a list of texts")
        else:
            found[text] = [str(one) for one in texts]
    return found


def _repeated(split: Split, queries: Ids, rows: Ids) -> Split:
    """``split`` with ``queries`` [n] after its own, each with the judgments of the row that ``rows`` [n] names."""
    order = np.concatenate([np.arange(len(split)), rows])

    def taken(values: Floats | None, of: Ragged | None) -> Floats | None:
        return None if values is None or of is None else values[of.positions(order)]

    return Split(
        np.concatenate([split.queries, queries]),
        split.relevant.take(order),
        taken(split.grades, split.relevant),
        None if split.negatives is None else split.negatives.take(order),
        taken(split.positive_scores, split.relevant),
        taken(split.negative_scores, split.negatives),
        None if split.groups is None else split.groups[order],
    )
