"""The contract of a data format: how it is recognised and read. A file adds one as ``FORMAT``.

``read(path, reading)`` makes a :class:`~bench.data.validation.Problems` and a :class:`~bench.data.build.Builder`, reads
files with :func:`bench.data.tables.read_table` (which knows every kind of file that has rows, and reports broken ones
with file and line), calls ``builder.corpus(text)`` for every passage *before* ``builder.pair(split, query, passage,
(file, line))`` for every pair, and returns ``builder.build(path)``, which raises
:class:`~bench.data.validation.DataError` with all problems at once. :class:`~bench.data.splits.Folder` finds the files
of a directory and names those that were not read. Only one format may fit a path.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.data.dataset import DataSet


@dataclass(frozen=True)
class Reading:
    """How a source is read: whether broken rows are left out, and the columns that the user named, by role.

    With ``cut``, splits that are missing are taken from train.
    """

    skip_broken: bool = False
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    cut: bool = False


@dataclass(frozen=True)
class Format:
    """``fits`` says whether an existing path holds data of this format, ``read`` makes the data set of such a path.

    Both are given how it is to be read.

    ``files`` describes the expected files, for the message when no format fits a path.
    """

    name: str
    files: str
    fits: Callable[[Path, Reading], bool]
    read: Callable[[Path, Reading], DataSet]
