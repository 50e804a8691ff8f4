"""Declarations of what a strategy is trained on: pairs with or without a label, views of one text, or generation."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Examples:
    """Base of the declarations."""

    @property
    def generates(self) -> bool:
        """Whether a language-model head is trained; its losses are in ``Batch.generation``."""
        return False


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

    Where no task has scores, they are those of the inference sets: contradiction has the score 0, neutral 0.5 and
    entailment 1. The scores of each task are scaled to 0 (its lowest) to 1 (its highest), so that tasks with scores of
    0 or 1 and tasks with scores of 0 to 5 can share a batch.
    """


@dataclass(frozen=True)
class ClassifiedPairs(TaskPairs):
    """The pairs with a class in the training splits of all inference sets; there may be ``classes`` at most.

    Classes of the same name are one, whatever their order in each set.
    """

    classes: int = 3


@dataclass(frozen=True)
class BothWays(Examples):
    """Every labelled pair (A, B) as two adjacent rows, A with B as its target and B with A as its target.

    Both rows are queries and candidates: the positive of a row is the other row of its pair. A row's vector is that of
    its source alone. With ``targets`` a language-model head also learns to generate the target from the source.
    ``noise`` is the share of sources in which some words are masked; targets and the other sources stay as they are
    (BART, Lewis et al. 2020).
    """

    noise: float = 0.0
    targets: bool = True

    @property
    def generates(self) -> bool:
        return self.targets
