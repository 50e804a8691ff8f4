"""Rows of pairs from the Hugging Face hub, or from files on disk that only ``datasets`` can read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.data.build import Builder
from bench.data.dataset import DataSet
from bench.data.formats.base import Reading
from bench.data.formats.pairs import corpus_of_rows, cut, relate
from bench.data.rows import Entry, entries
from bench.data.splits import SPLIT_OF, SPLITS
from bench.data.tables import Table
from bench.data.validation import Problems
from bench.errors import UserError, install

PREFIX = "hf:"


def read(source: str, reading: Reading) -> DataSet:
    """The data set ``hf:OWNER/NAME`` or ``hf:OWNER/NAME:CONFIG``.

    The corpus is every positive and negative. Where dev or test is missing, 5 % of the queries of train (at most
    1,000, chosen by a hash of their text) become it. Raises :class:`UserError` when ``datasets`` is not installed or
    the source is not reachable, and :class:`DataError` for what cannot be used.
    """
    problems = Problems(reading.skip_broken)
    loaded = _load(source)
    splits: dict[str, list[Entry]] = {}
    for name, rows in loaded.items():
        if split := SPLIT_OF.get(name.lower()):
            columns = tuple(rows.column_names)
            table = Table(Path(f"{source}/{name}"), "Hugging Face rows", columns, True, iter(enumerate(rows, start=1)))
            splits.setdefault(split, []).extend(entries(table, reading.columns, problems))
        else:
            problems.tell(f"splits not read: {name}")
    if not splits:
        raise UserError(f"{source} has the splits {', '.join(loaded)}; at least one of {', '.join(SPLITS)} is needed")
    splits = cut(splits, problems)
    builder = Builder(source.removeprefix(PREFIX), problems)
    corpus_of_rows(builder, splits)
    relate(builder, splits)
    for split, rows in splits.items():
        builder.require(split, [rows[0].at[0] if rows else Path(f"{source}/{split}")])
    return builder.build(Path(source))


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
