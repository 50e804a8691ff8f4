"""A table of word embeddings with only the rows in use, for training with a large vocabulary."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from bench.model.encoder import Encoder


@contextmanager
def narrowed(encoder: Encoder, used: np.ndarray) -> Iterator[Narrowed]:
    """During training, keep only the word embeddings of the token ids ``used``.

    Rows that no text contains have no gradient. Leaving them out saves the optimiser and the gradient most of a large
    vocabulary and changes no result: see :class:`Narrowed`.
    """
    table = Narrowed(encoder, torch.from_numpy(used))
    try:
        yield table
    finally:
        table.widen()


class Narrowed:
    """An encoder whose word table has only the rows in use; this object keeps the others.

    ``unused_decay`` is the factor that weight decay would have applied to the rows left out; the caller that steps
    the optimiser updates it.
    """

    def __init__(self, encoder: Encoder, used: Tensor) -> None:
        self.encoder = encoder
        self.used = used.to(encoder.device)
        self.whole: nn.Embedding = encoder.word_embeddings
        self.narrow = nn.Embedding(len(used), self.whole.embedding_dim, device=encoder.device)
        self.narrow.weight.data.copy_(self.whole.weight.data[self.used])
        self.places = torch.zeros(self.whole.num_embeddings, dtype=torch.long, device=encoder.device)
        self.places[self.used] = torch.arange(len(used), device=encoder.device)
        self.start = self.whole.weight.data.clone()
        self.unused_decay = 1.0
        self.encoder.put_word_embeddings(self.narrow, self.places)

    def widen(self) -> None:
        """Restore the whole table, including what was learnt."""
        self.whole.weight.data.copy_(self.start * self.unused_decay)
        self.whole.weight.data[self.used] = self.narrow.weight.data
        self.encoder.put_word_embeddings(self.whole, None)

    @contextmanager
    def widened(self) -> Iterator[None]:
        """Restore the whole table within the block, so that evaluation and saving see every token."""
        self.widen()
        try:
            yield
        finally:
            self.encoder.put_word_embeddings(self.narrow, self.places)
