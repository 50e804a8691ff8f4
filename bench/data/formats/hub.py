"""Pairs or triplets from the Hugging Face hub, or from files on disk that ``datasets`` can read."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.data.build import Builder
from bench.data.dataset import DataSet
from bench.data.lines import is_text
from bench.data.validation import Problems
from bench.errors import UserError, install

logger = logging.getLogger(__name__)

PREFIX = "hf:"
QUERY = ("query", "anchor", "question", "premise", "sentence1")
POSITIVE = ("positive", "answer", "passage", "pos", "entailment", "sentence2")
LABELS = ("label", "labels", "score")
SPLIT_OF = {"train": "train", "validation": "dev", "valid": "dev", "val": "dev", "dev": "dev", "test": "test"}
HELD_OUT = 20  # one query in so many goes to a split that is missing ...
MOST_HELD_OUT = 1000  # ... but no more than these


class Row(NamedTuple):
    """One checked row: its place, its texts; ``negative`` is None where there is no such column."""

    at: tuple[Path, int]
    query: str
    positive: str
    negative: str | None


def read(source: str) -> DataSet:
    """The data set ``hf:OWNER/NAME``, ``hf:OWNER/NAME:CONFIG`` or ``hf:DIRECTORY``.

    The corpus is every positive and negative. Where dev or test is missing, 5 % of the queries of train (at
    most 1,000, chosen by a hash of their text) become it. Repeated pairs are merged with a warning, since the
    user cannot edit the source. Raises :class:`UserError` when ``datasets`` is not installed, the source is
    not reachable or has no pair of text columns, and :class:`DataError` for empty texts.
    """
    problems = Problems()
    loaded = _load(source)
    splits: dict[str, list[Row]] = {}
    for name, table in loaded.items():
        if name in SPLIT_OF:
            splits.setdefault(SPLIT_OF[name], []).extend(_rows(Path(f"{source}/{name}"), table, problems))
    if not splits:
        known = ", ".join(SPLIT_OF)
        raise UserError(f"{source} has the splits {', '.join(loaded)}; at least one of {known} is needed")
    splits = hold_out(splits)
    builder = Builder(source.removeprefix(PREFIX), problems)
    rows = [row for split in splits.values() for row in split]
    for text in dict.fromkeys(text for row in rows for text in (row.positive, row.negative) if text):
        builder.corpus(text)
    for split, members in splits.items():
        for row in members:
            builder.pair(split, row.query, row.positive, row.at, repeatable=True)
            if row.negative is not None:
                builder.negative(split, row.query, row.negative)
    data = builder.build(Path(source))
    repeated = len(rows) - sum(len(split.relevant.values) for split in data.splits.values())
    if repeated and all(row.negative is None for row in rows):
        logger.warning("%s: %d repeated pairs were merged", source, repeated)
    return data


def _load(source: str) -> Mapping[str, Any]:
    """The splits of the source by their own names."""
    try:
        import datasets
    except ImportError as error:
        raise UserError(f"{source} needs the package datasets: {install('hub')}") from error
    name, _, config = source.removeprefix(PREFIX).partition(":")
    try:
        loaded: Mapping[str, Any] = datasets.load_dataset(name, config or None)
    except Exception as error:  # the hub's client raises errors of several libraries
        raise UserError(
            f"{source} cannot be loaded: {str(error).strip().splitlines()[0] if str(error) else error!r}. "
            "Check the id (hf:OWNER/NAME, or hf:OWNER/NAME:CONFIG where it has several configurations) and "
            "the connection, or download it and give its directory as hf:DIRECTORY"
        ) from error
    return loaded


def _rows(place: Path, table: Any, problems: Problems) -> list[Row]:
    """The rows of one split whose texts are texts; the others go to ``problems``, counted from row 1."""
    columns = _columns(place, table)
    values = table.select_columns(columns)[:]
    rows = []
    for number, texts in enumerate(zip(*(values[column] for column in columns), strict=True), start=1):
        wrong = [column for column, text in zip(columns, texts, strict=True) if not is_text(text)]
        if wrong:
            problems.add(place, number, f"no text in the column {wrong[0]!r}")
        else:
            rows.append(Row((place, number), texts[0], texts[1], texts[2] if len(texts) > 2 else None))
    return rows


def _columns(place: Path, table: Any) -> list[str]:
    """The columns of query and positive, and of the negative where there is one."""
    names: Sequence[str] = table.column_names
    if label := next((name for name in LABELS if name in names), None):
        raise UserError(f"{place} has a column {label!r}: keep only its positive pairs, without that column")
    texts = [name for name in names if getattr(table.features[name], "dtype", "") in ("string", "large_string")]
    query = next((name for name in QUERY if name in texts), None)
    positive = next((name for name in POSITIVE if name in texts), None)
    if query is None or positive is None:
        if len(texts) < 2:
            raise UserError(f"{place} has no two columns of texts; its columns are {', '.join(names)}")
        query, positive = texts[:2]
    return [query, positive, *(["negative"] if "negative" in texts else [])]


def hold_out(splits: Mapping[str, list[Row]]) -> dict[str, list[Row]]:
    """The splits, with dev and test taken from the queries of train where they are missing.

    A train split of fewer than 20 queries is left whole.
    """
    splits = dict(splits)
    train = splits.get("train", [])
    queries = sorted({row.query for row in train}, key=lambda q: hashlib.sha256(q.encode()).digest())
    size = min(len(queries) // HELD_OUT, MOST_HELD_OUT)
    missing = [name for name in ("dev", "test") if name not in splits] if size else []
    for i, name in enumerate(missing):
        taken = set(queries[i * size : (i + 1) * size])
        splits[name] = [row for row in train if row.query in taken]
    kept = set(queries[len(missing) * size :])
    if "train" in splits:
        splits["train"] = [row for row in train if row.query in kept]
    return splits
