"""The order in which training pairs are drawn: a function of the seed and the epoch alone."""

from __future__ import annotations

import numpy as np

from bench.data.dataset import Ids


def batch_rows(pairs: int, batch_size: int, seed: int, step: int, cluster: Ids | None = None) -> Ids:
    """Rows of the pairs of one step, counted from 0 over all epochs; each epoch is a fresh permutation.

    The last batch of an epoch may be smaller, as in PaddleNLP and Sentence Transformers. With the ``cluster`` [n] of
    each pair, pairs of one cluster follow each other before they are cut into batches. Batches are then in random
    order, but for a smaller one, which is the last.
    """
    per_epoch = steps_per_epoch(pairs, batch_size)
    epoch, place = divmod(step, per_epoch)
    rng = np.random.Generator(np.random.Philox(key=[seed, epoch]))
    order = rng.permutation(pairs)
    if cluster is not None:
        turn = rng.permutation(int(cluster.max()) + 1)
        order = order[np.argsort(turn[cluster[order]], kind="stable")]
        full = pairs // batch_size
        place = int(rng.permutation(full)[place]) if place < full else place
    return order[place * batch_size : (place + 1) * batch_size].astype(np.int64)


def steps_per_epoch(pairs: int, batch_size: int) -> int:
    """Batches that hold every pair once."""
    return -(-pairs // batch_size)
