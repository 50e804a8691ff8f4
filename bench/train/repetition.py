"""Word repetition (ESimCSE, Wu et al. 2021): some tokens of a text stand twice."""

from __future__ import annotations

import numpy as np

from bench.data.dataset import Ids
from bench.data.tokens import Tokens


def repeated(tokens: Tokens, rows: Ids, share: float, longest: int, rng: np.random.Generator) -> Tokens:
    """The texts ``rows`` with up to ``share`` of each one's tokens repeated in place, at most ``longest`` in all.

    The number of repeated tokens is drawn evenly from 0 up to ``max(2, share * length)``; texts of five or
    fewer tokens, and the first and last token of every text, which are special, stay as they are.
    """
    lengths = tokens.lengths[rows]
    most = np.maximum(2, (share * lengths).astype(np.int64))
    count = rng.integers(0, most + 1)
    count = np.where(lengths > 5, np.minimum(np.minimum(count, lengths - 2), longest - lengths), 0)
    offsets = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    text = np.repeat(np.arange(len(rows)), lengths)
    place = np.arange(offsets[-1]) - offsets[text]
    draw = rng.random(len(text))
    draw[(place == 0) | (place == lengths[text] - 1)] = 2  # special tokens come last
    order = np.lexsort((draw, text))
    times = np.ones(len(text), dtype=np.int64)
    times[order] += place < count[text]  # the first ``count`` of every text in its random order
    longer = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum(lengths + count, out=longer[1:])
    return Tokens(np.repeat(tokens.take(rows), times), longer, np.zeros(len(rows), dtype=np.bool_))
