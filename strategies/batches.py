"""Declarations of which examples share a batch; :mod:`bench.negatives.batches` implements them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Batches:
    """Base of the declarations. Each example stands in one batch an epoch."""


@dataclass(frozen=True)
class Shuffled(Batches):
    """Examples at random."""


@dataclass(frozen=True)
class Clustered(Batches):
    """Labelled pairs sorted by cluster and cut into batches; where one cluster ends, a batch holds pairs of two.

    ``by`` names the encoder whose vectors of the pairs' ``of`` (``queries`` or ``passages``) are put into ``clusters``
    clusters: ``start`` is the encoder before training.
    """

    clusters: int
    by: str = "start"
    of: str = "queries"


@dataclass(frozen=True)
class Grouped(Batches):
    """Labelled pairs of one group of the data set, whose column ``data.columns`` names; leftovers share batches."""
