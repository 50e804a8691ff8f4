"""Post-processing of vectors: a linear map fitted on the vectors of some texts, kept as the encoder's last dense layer.

``centre`` removes the mean direction: ``e - (e m) m`` with ``m`` the mean of the unit vectors, brought to length one
(arXiv 2511.11041). ``whitening`` gives vectors whose mean is 0 and whose covariance is the identity:
``(x - mean) U diag(s)^(-1/2)`` with the covariance ``U diag(s) U^T`` of the vectors before normalisation (Su et al.
2021). The directions of highest variance come first; ``whitening-N`` keeps N of them, ``whitening`` all that have any.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bench.data.dataset import Floats
from bench.errors import Impossible
from bench.model.head import Dense

Values = NDArray[np.float64]
LEAST = 1e-9  # share of the largest variance below which a direction holds nothing but rounding


def fitted(post: str, raw: Floats) -> Dense:
    """The layer that ``encoder.post`` names, for vectors such as ``raw`` [n, d] (before normalisation).

    Raises :class:`Impossible` when ``raw`` has too few distinct directions for the values that are kept.
    """
    x = raw.astype(np.float64)
    weight, offset = _centring(x) if post == "centre" else _whitening(x, kept(post))
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bool(offset.any()))
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        if layer.bias is not None:
            layer.bias.copy_(torch.from_numpy(offset))
    return Dense(layer.requires_grad_(False))


def kept(post: str) -> int | None:
    """How many values ``encoder.post`` keeps; None for all."""
    number = post.partition("-")[2]
    return int(number) if number else None


def _whitening(x: Values, dim: int | None) -> tuple[Values, Values]:
    mean = x.mean(axis=0)
    directions, variances, _ = np.linalg.svd(np.cov((x - mean).T, ddof=1))
    there = int(np.count_nonzero(variances > LEAST * variances[0]))
    if dim is None:  # a layer norm at the end leaves d - 1 directions
        dim = there if len(x) > x.shape[1] else x.shape[1]
    if dim > there:
        raise Impossible(
            f"encoder.post=whitening: the vectors of {len(x):,} texts have {there} independent directions, not {dim}; "
            f"keep at most that many with encoder.post=whitening-{there}, or fit on more texts (encoder.post_on=all)"
        )
    weight = (directions / np.sqrt(np.maximum(variances, 1e-300)))[:, :dim].T
    return weight, -weight @ mean


def _centring(x: Values) -> tuple[Values, Values]:
    mean = (x / np.linalg.norm(x, axis=1, keepdims=True)).mean(axis=0)
    direction = mean / np.linalg.norm(mean)
    return np.eye(len(mean)) - np.outer(direction, direction), np.zeros(len(mean))
