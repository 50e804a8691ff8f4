"""Scores and classes of several tasks on one scale."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from bench.data.dataset import Floats, Ids, TextPairs


def scaled(pairs: TextPairs) -> Floats:
    """[n] scores from 0, the lowest of ``pairs``, to 1, the highest; there must be two."""
    lowest, highest = pairs.label.min(), pairs.label.max()
    return np.asarray((pairs.label - lowest) / (highest - lowest), dtype=np.float32)


def class_names(tasks: Iterable[TextPairs]) -> tuple[str, ...]:
    """The names of all classes of ``tasks``, each once."""
    return tuple(dict.fromkeys(name for pairs in tasks for name in pairs.classes))


def class_numbers(pairs: TextPairs, names: tuple[str, ...]) -> Ids:
    """[n] the place of each pair's class among ``names``."""
    place = np.array([names.index(name) for name in pairs.classes], dtype=np.int64)
    return place[pairs.label.astype(np.int64)]
