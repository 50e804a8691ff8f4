"""The order in which training pairs are drawn: a function of the seed and the epoch alone."""

from __future__ import annotations

import numpy as np

from bench.data.dataset import Ids


def batch_rows(pairs: int, batch_size: int, seed: int, step: int) -> Ids:
    """Rows of the pairs of one step, counted from 0 over all epochs; each epoch is a fresh permutation.

    The last batch of an epoch may be smaller, as in PaddleNLP and Sentence Transformers.
    """
    per_epoch = steps_per_epoch(pairs, batch_size)
    epoch, place = divmod(step, per_epoch)
    order = np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(pairs)
    return order[place * batch_size : (place + 1) * batch_size].astype(np.int64)


def steps_per_epoch(pairs: int, batch_size: int) -> int:
    """Batches that hold every pair once."""
    return -(-pairs // batch_size)
