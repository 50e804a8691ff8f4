"""Drawing passages whose scores are near the positive's, for :class:`strategies.negatives.Near`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bench.data.dataset import Floats, Ids
from bench.negatives.random_sampler import weighted
from strategies.negatives import Near

ToPositive = Callable[[Ids], Floats]
"""The cosines [Q, m] of the queries' positives with passages [Q, m]."""


def drawn_near(
    near: Near,
    rng: np.random.Generator,
    passages: tuple[Ids, Floats, NDArray[np.bool_]],
    positive: Floats,
    n: int,
    to_positive: ToPositive,
) -> tuple[Ids, NDArray[np.bool_]]:
    """For each query, the columns of ``n`` of its ``passages``, [Q, n], and a mask of places without one.

    ``passages`` are ids [Q, m], scores [Q, m], and whether each is eligible [Q, m]; ``positive`` [Q] are the scores of
    the positives. ``to_positive`` is asked only where there are ``candidates``.
    """
    ids, score, fit = passages
    distance = near.scale * (score - positive[:, None]) - near.shift
    log_weight = np.where(fit, -near.sharpness * np.square(distance), -np.inf)
    if near.candidates is None:
        return weighted(rng, log_weight, n)
    place, missing = weighted(rng, log_weight, near.candidates)
    closeness = to_positive(np.take_along_axis(ids, place, axis=1)) - np.take_along_axis(score, place, axis=1)
    nearer = np.where(missing, 0.0, np.maximum(0.0, closeness))
    with np.errstate(divide="ignore"):
        column, free = weighted(rng, np.log(nearer), n)
    return np.take_along_axis(place, column, axis=1), free
