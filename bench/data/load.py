"""Loading the data set of a configuration."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bench.data.dataset import DataSet
from bench.data.presets import find_source
from bench.data.subset import subset
from bench.setting import Name


@dataclass(frozen=True)
class DataConfig:
    """Which data set, and how much of it.

    ``name`` is a preset, a directory, a ``.jsonl`` file or ``hf:OWNER/NAME``; ``path`` is the directory of a
    preset that needs one. ``max_train`` (pairs) and ``max_corpus`` (passages) limit it for quick runs, see
    :func:`bench.data.subset.subset`.
    """

    name: Name = "docstrings"
    path: str | None = None
    max_train: int | None = None
    max_corpus: int | None = None


def load(config: DataConfig) -> DataSet:
    """The limited data set; its fingerprint is that of the limited content.

    Raises :class:`UserError` when it is not found and :class:`DataError` when it is broken.
    """
    found = find_source(config.name, config.path)
    return subset(replace(found.read(), name=found.name), config.max_train, config.max_corpus)
