"""Declarations of the examples that a strategy is trained on: pairs with or without a label, or views of one text."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Examples:
    """Base of the declarations."""


@dataclass(frozen=True)
class LabelledPairs(Examples):
    """The labelled (query, positive) pairs of the training split."""


@dataclass(frozen=True)
class TwoViews(Examples):
    """Every text against itself, encoded twice under different dropout.

    ``texts`` are the data set's ``unlabelled`` ones or those of its ``corpus``. ``repetition`` is the largest
    share of a text's tokens that is repeated, drawn separately for each view (word repetition of ESimCSE, Wu et al.
    2021).
    """

    texts: str = "unlabelled"
    repetition: float = 0.0


@dataclass(frozen=True)
class TaskPairs(Examples):
    """The pairs of texts in the training splits of all similarity tasks and inference sets; labels are not used."""


@dataclass(frozen=True)
class ScoredPairs(TaskPairs):
    """The pairs with scores in the training splits of all similarity tasks.

    The scores of each task are scaled to 0 (its lowest) to 1 (its highest), so that tasks with scores of 0 or 1 and
    tasks with scores of 0 to 5 can share a batch.
    """


@dataclass(frozen=True)
class ClassifiedPairs(TaskPairs):
    """The pairs with a class in the training splits of all inference sets; there may be ``classes`` at most.

    Classes of the same name are one, whatever their order in each set.
    """

    classes: int = 3
