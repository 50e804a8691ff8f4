"""Scores and classes of several tasks on one scale."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from bench.data.dataset import DataSet, Floats, Ids, TextPairs

SIMILARITY = {"contradiction": 0.0, "neutral": 0.5, "entailment": 1.0}
"""How similar the texts of a pair are that has this class: an order, as CoSENT's author gives it (Su 2022)."""


def graded(data: DataSet) -> dict[str, TextPairs]:
    """The training pairs with scores by task; where no task has scores, those of the classes of ``SIMILARITY``."""
    scored = data.scored("train")
    return scored or {
        name: replace(
            pairs,
            label=np.array([SIMILARITY[of] for of in pairs.classes], dtype=np.float32)[_places(pairs)],
            classes=(),
        )
        for name, pairs in data.classified("train").items()
        if set(pairs.classes) <= SIMILARITY.keys()
    }


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
    return place[_places(pairs)]


def _places(pairs: TextPairs) -> Ids:
    return pairs.label.astype(np.int64)
