"""Ties of a ranking: among passages of equal score, the relevant ones count as last.

The order of equal scores is that of the corpus file or of an engine, so a metric must not depend on it. Relevant
passages come last because vectors that cannot distinguish passages have not found any of them: an encoder that gives
all texts one vector then has a recall of 0, and a rank stays a whole number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bench.data.dataset import Floats, Ids
from bench.evaluate.metrics import Judged

TOLERANCE = 1e-6
"""Inner products of unit vectors that differ by no more are equal: float32 is no more exact than that."""

MANY = 0.01  # share of queries decided by a tie from which there is a warning


def warnings(tied: int, queries: int) -> Iterator[str]:
    """A sentence if ties decide the rank for at least :data:`MANY` of the queries."""
    if tied >= max(1, MANY * queries):
        yield (
            f"equal scores decide the rank for {tied:,} of {queries:,} queries ({tied / queries:.0%}); "
            "relevant passages were ranked last among equals"
        )


AtScore = Callable[[Ids, Floats], NDArray[np.bool_]]
"""Says for some queries (rows), whether a relevant passage of each has the given score."""


def relevant_last(
    judged: Judged, scores: Floats, beyond: Floats, at_score: AtScore
) -> tuple[Judged, NDArray[np.bool_]]:
    """``judged`` with the relevant passages last within each group of ties, and a mask [Q] of decided queries.

    ``scores`` [Q, k] are those of the ranking, best first; ``beyond`` [Q, 1] are the scores of the passages at rank
    k + 1, [Q, 0] where there is no such passage or the engine does not return it. A group that goes on beyond rank k
    holds further passages, so its relevant ones count as not retrieved. A tie decides a query if the rank of its first
    relevant passage would be another one with the relevant passages first.
    """
    begins = np.zeros(scores.shape, dtype=np.int64)
    begins[:, 1:] = scores[:, :-1] - scores[:, 1:] > TOLERANCE
    group = np.cumsum(begins, axis=1)
    last, first = (
        np.take_along_axis(judged.gains, np.lexsort((sign * judged.gains, group), axis=1), axis=1) for sign in (1, -1)
    )
    goes_on = np.any(scores[:, -1:] - beyond <= TOLERANCE, axis=1)
    settled = replace(judged, gains=np.where(goes_on[:, None] & (group == group[:, -1:]), 0.0, last))
    decided = np.asarray(settled.first != replace(judged, gains=first).first)
    unclear = np.flatnonzero(goes_on & (settled.first == 0))
    decided[unclear] = at_score(unclear, scores[unclear, -1])  # whichever of the group the engine returned
    return settled, decided
