"""The geometry of a corpus' vectors: what makes an index lose passages and what recall alone does not show."""

from __future__ import annotations

import numpy as np

from bench.data.dataset import Floats, Ids

NEAREST = 10


def mean_norm(vectors: Floats) -> float:
    """Length of the mean of unit vectors [n, d]: 0 where they point everywhere, 1 where all are equal."""
    return float(np.linalg.norm(vectors.mean(0, dtype=np.float64)))


def hubness(found: Ids, passages: int) -> float:
    """Skewness of how often each of ``passages`` is among the nearest, which ``found`` [Q, k] holds for each query.

    It is high where few passages are near to many queries (``S_Nk`` of Radovanović et al. 2010, "Hubs in Space"); 0
    where all are found equally often.
    """
    times = np.bincount(found.ravel(), minlength=passages)
    deviation = float(times.std())
    return float(((times - times.mean()) ** 3).mean() / deviation**3) if deviation else 0.0
