"""Encoding many texts: sorted by length, in chunks of equal work, without gradients."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from bench.data.tokens import Tokens
from bench.model.encoder import Encoder
from bench.model.packing import pack
from bench.model.precision import autocast

TOKENS_AT_ONCE = {"cpu": 1 << 11, "cuda": 1 << 17}


@torch.no_grad()
def encode(
    encoder: Encoder,
    tokens: Tokens,
    precision: str,
    rows: NDArray[np.int64] | None = None,
    progress: Callable[[int], None] | None = None,
) -> NDArray[np.float32]:
    """[n, d] unit vectors of the texts ``rows`` of ``tokens`` (all, by default), in that order.

    Dropout is off meanwhile and back as it was afterwards. ``progress`` is told how many texts each chunk had.
    """
    rows = np.arange(len(tokens.lengths)) if rows is None else rows
    lengths = tokens.lengths[rows]
    order = np.argsort(-lengths, kind="stable")  # longest first: too little memory shows at once
    vectors = np.empty((len(rows), encoder.dim), dtype=np.float32)
    budget = TOKENS_AT_ONCE.get(encoder.device.type, TOKENS_AT_ONCE["cuda"])
    training = encoder.training
    encoder.eval()
    try:
        with autocast(precision, encoder.device):
            begin = 0
            while begin < len(order):
                count = max(1, budget // int(lengths[order[begin]]))
                chunk = order[begin : begin + count]
                vectors[chunk] = encoder(pack([(tokens, rows[chunk])])).cpu().numpy()
                begin += len(chunk)
                if progress is not None:
                    progress(len(chunk))
    finally:
        encoder.train(training)
    return vectors
