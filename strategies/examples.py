"""Declarations of the examples that a strategy is trained on: labelled pairs, or two views of one text."""

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
