"""The contract of a data format: how it is recognised and read. A file adds one as ``FORMAT``.

``read(path)`` makes a :class:`~bench.data.validation.Problems` and a :class:`~bench.data.build.Builder`, reads lines
with :mod:`bench.data.lines` (which reports broken ones with file and line), calls ``builder.corpus(text)`` for every
passage *before* ``builder.pair(split, query, passage, (file, line))`` for every pair, and returns
``builder.build(path)``, which raises :class:`~bench.errors.DataError` with all problems at once. Only one format may
fit a path.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.data.dataset import DataSet
from bench.data.lines import find


@dataclass(frozen=True)
class Format:
    """``fits`` says whether an existing path holds data of this format, ``read`` makes the data set of such a path.

    ``files`` describes the expected files, for the message when no format fits a path.
    """

    name: str
    files: str
    fits: Callable[[Path], bool]
    read: Callable[[Path], DataSet]


def has_any(folder: Path, stems: Sequence[str], suffixes: Sequence[str]) -> bool:
    """Whether a directory has a file called ``STEM + SUFFIX``, plain or ``.gz``."""
    return any(find(folder, [stem], [suffix]) for stem in stems for suffix in suffixes)
