"""Pearson's and Spearman's correlation, each as a mean of one value a pair, so that pairs can be tested like queries.

The value of a pair is the correlation plus the influence of the pair on it (Hampel 1974): how the correlation changes,
to first order, when the pair gets more weight. The values average to the correlation exactly, and their variance
divided by the number of pairs is the correlation's asymptotic variance. Spearman's includes that a pair moves the ranks
of all others.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


def spearman(x: Values, y: Values) -> Values:
    """[n] one value a pair; their mean is Spearman's correlation of ``x`` [n] and ``y`` [n].

    Equal values share the mean of their ranks. NaN where all values of one side are equal.
    """
    from scipy.stats import rankdata  # takes a second to import, which retrieval need not wait for

    f, g = ((rankdata(side) - 0.5) / len(side) for side in (x, y))
    product = f * g + _above(x, g) + _above(y, f)
    squares = (side**2 + 2 * _above(of, side) for of, side in ((x, f), (y, g)))
    return _values(*(moment - 2 * moment.mean() / 3 - 0.25 for moment in (product, *squares)))


def pearson(x: Values, y: Values) -> Values:
    """[n] one value a pair; their mean is Pearson's correlation of ``x`` [n] and ``y`` [n].

    NaN where all values of one side are equal.
    """
    a, b = x - x.mean(), y - y.mean()
    return _values(a * b, a * a, b * b)


def _above(x: Values, weights: Values) -> Values:
    """[n] sum of the ``weights`` of pairs with a higher ``x`` and half of those with an equal one, divided by n."""
    order = np.argsort(x, kind="stable")
    distinct, place = np.unique(x[order], return_inverse=True)
    of_value = np.bincount(place, weights[order], minlength=len(distinct))
    above = of_value[::-1].cumsum()[::-1] - of_value / 2
    found = np.empty(len(x))
    found[order] = above[place] / len(x)
    return found


def _values(product: Values, x_square: Values, y_square: Values) -> Values:
    """The correlation plus influence of each pair, from the same of the covariance and of the two variances."""
    covariance, x_variance, y_variance = (moment.mean() for moment in (product, x_square, y_square))
    if min(x_variance, y_variance) <= 1e-15:
        return np.full(len(product), np.nan)
    scale = (x_variance * y_variance) ** 0.5
    own_scale = (x_square / x_variance + y_square / y_variance) / 2
    values: Values = product / scale - covariance / scale * (own_scale - 1)
    return values
