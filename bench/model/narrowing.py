"""A table of word embeddings with only the rows in use, for training with a large vocabulary."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy

import numpy as np
import torch
from torch import Tensor, nn

from bench.model.encoder import Encoder


@contextmanager
def narrowed(encoder: Encoder, used: np.ndarray) -> Iterator[Narrowed]:
    """During training, keep only the word embeddings of the token ids ``used``.

    Rows that no text contains have no gradient. Leaving them out saves the optimiser and the gradient most of a large
    vocabulary and changes no result: see :class:`Narrowed`. An encoder that does not allow it keeps its whole table.
    """
    table = Narrowed(encoder, torch.from_numpy(used))
    try:
        yield table
    finally:
        table.widen()


def rows_of(whole: nn.Embedding, used: Tensor) -> tuple[nn.Embedding, Tensor]:
    """A table like ``whole``, class and buffers included, with the rows ``used``; and [vocabulary] where each id is.

    Ids that are not in use are sent to row 0.
    """
    narrow = copy(whole)
    narrow._parameters = dict(whole._parameters)  # the copy shares this mapping with the original
    narrow.weight = nn.Parameter(whole.weight.data[used], requires_grad=whole.weight.requires_grad)
    narrow.num_embeddings = len(used)
    places = torch.zeros(whole.num_embeddings, dtype=torch.long, device=used.device)
    places[used] = torch.arange(len(used), device=used.device)
    if whole.padding_idx is not None:  # its row has no gradient
        narrow.padding_idx = int(places[whole.padding_idx]) if (used == whole.padding_idx).any() else None
    return narrow, places


class Narrowed:
    """An encoder whose word table has only the rows in use; this object keeps the others.

    ``unused_decay`` is the factor that weight decay would have applied to the rows left out; the caller that steps
    the optimiser updates it.
    """

    def __init__(self, encoder: Encoder, used: Tensor) -> None:
        self.encoder = encoder
        self.unused_decay = 1.0
        if not encoder.narrows:
            return
        self.used = used.to(encoder.device)
        self.whole = encoder.word_embeddings
        self.narrow, self.places = rows_of(self.whole, self.used)
        self.start = self.whole.weight.data.clone()
        self._use_narrow()

    def widen(self) -> None:
        """Restore the whole table, including what was learnt."""
        if not self.encoder.narrows:
            return
        self.whole.weight.data.copy_(self.start * self.unused_decay)
        self.whole.weight.data[self.used] = self.narrow.weight.data
        self.encoder.put_word_embeddings(self.whole, None)

    def _use_narrow(self) -> None:
        if self.encoder.narrows:
            self.encoder.put_word_embeddings(self.narrow, self.places)

    @contextmanager
    def widened(self) -> Iterator[None]:
        """Restore the whole table within the block, so that evaluation and saving see every token."""
        self.widen()
        try:
            yield
        finally:
            self._use_narrow()
