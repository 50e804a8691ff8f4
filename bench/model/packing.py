"""Texts laid end to end: a batch of token sequences without padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.data.tokens import Tokens

LEAST = 256  # tokens that a worker of its own is worth


@dataclass(frozen=True)
class Packed:
    """n texts, T tokens in all, shortest text first.

    ``ids`` [T] are the token ids end to end, ``lengths`` [n] the tokens of each text in ascending order, and
    ``restore`` [n] brings vectors back into the caller's order: ``vectors[restore]``. ``prompts`` [n] counts the first
    tokens of each text that are its prefix; None means none. ``sources`` [n] counts the first tokens that are the
    source of a text, the rest being its target (UniLM, Dong et al. 2019): source tokens see the source, a target token
    sees the source and the target up to itself. None means that all tokens of a text see each other.
    """

    ids: Tensor
    lengths: NDArray[np.int64]
    restore: Tensor
    prompts: NDArray[np.int64] | None = None
    sources: NDArray[np.int64] | None = None

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """[n] position of each text's first token."""
        return np.cumsum(self.lengths) - self.lengths

    @cached_property
    def positions(self) -> NDArray[np.int64]:
        """[T] position of each token within its text."""
        return np.arange(len(self.ids)) - np.repeat(self.starts, self.lengths)

    @cached_property
    def text_of_token(self) -> NDArray[np.int64]:
        """[T] which text each token belongs to."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    @cached_property
    def in_target(self) -> NDArray[np.int64]:
        """[T] 1 for tokens of a target, 0 for those of a source: the segments of BERT."""
        sources = self.lengths if self.sources is None else self.sources
        return (self.positions >= sources[self.text_of_token]).astype(np.int64)

    @cached_property
    def source_tokens(self) -> NDArray[np.int64]:
        """The places of all tokens that are no target."""
        return np.flatnonzero(self.in_target == 0)

    def without_targets(self) -> Packed:
        """The texts as their sources alone; ``lengths`` may then be in any order."""
        lengths = self.lengths if self.sources is None else self.sources
        return Packed(self.ids[torch.from_numpy(self.source_tokens)], lengths, self.restore, self.prompts)

    def seen(self, begin: int, end: int, length: int) -> NDArray[np.bool_]:
        """[texts, length, length] whether a row's token sees a column's, in the texts ``begin`` to ``end``, padded."""
        place = np.arange(length)
        real = place < self.lengths[begin:end, None, None]
        sources = (self.lengths if self.sources is None else self.sources)[begin:end, None, None]
        return real & ((place < sources) | (place <= place[:, None]))


def pack(parts: Sequence[tuple[Tokens, NDArray[np.int64]]], order: NDArray[np.int64] | None = None) -> Packed:
    """Lay the chosen rows of one or more token stores end to end, shortest first.

    ``order`` picks and orders a subset of the rows counted over all parts (a chunk of a longer plan).
    """
    lengths = np.concatenate([tokens.lengths[rows] for tokens, rows in parts])
    starts = np.concatenate([tokens.offsets[rows] for tokens, rows in parts])
    source = np.repeat(np.arange(len(parts)), [len(rows) for _, rows in parts])
    prompts = np.array([tokens.prompt for tokens, _ in parts], dtype=np.int64)[source]
    sources = None
    if any(tokens.sources is not None for tokens, _ in parts):
        sources = np.concatenate([(t.lengths if t.sources is None else t.sources)[rows] for t, rows in parts])
    chosen = np.arange(len(lengths)) if order is None else order
    by_length = np.argsort(lengths[chosen], kind="stable")
    picked = chosen[by_length]
    lengths, starts, source = lengths[picked], starts[picked], source[picked]
    ends = np.cumsum(lengths)
    where = np.arange(ends[-1]) + np.repeat(starts - (ends - lengths), lengths)
    if len(parts) == 1:
        flat = parts[0][0].ids[where]
    else:
        flat = np.empty(len(where), dtype=np.int64)
        of_token = np.repeat(source, lengths)
        for index, (tokens, _) in enumerate(parts):
            mine = of_token == index
            flat[mine] = tokens.ids[where[mine]]
    restore = np.empty(len(picked), dtype=np.int64)
    restore[by_length] = np.arange(len(picked))
    return Packed(
        torch.from_numpy(flat.astype(np.int64)),
        lengths,
        torch.from_numpy(restore),
        prompts[picked],
        None if sources is None else sources[picked],
    )


def by_length(
    parts: Sequence[tuple[Tokens, NDArray[np.int64]]], size: int, slack: float | None = None
) -> list[NDArray[np.int64]]:
    """Cut all rows of ``parts``, shortest first, into chunks of at most ``size`` texts.

    With ``slack`` a chunk's longest text is also at most that many times its shortest (and 8 tokens more), so
    that padding the chunk wastes little.
    """
    lengths = np.concatenate([tokens.lengths[rows] for tokens, rows in parts])
    order = np.argsort(lengths, kind="stable")
    chunks, begin = [], 0
    while begin < len(order):
        end = min(begin + size, len(order))
        if slack is not None:
            longest = lengths[order[begin]] * slack + 8
            end = min(end, int(np.searchsorted(lengths[order], longest, side="right")))
        chunks.append(order[begin:end])
        begin = end
    return chunks


def equal_parts(
    parts: Sequence[tuple[Tokens, NDArray[np.int64]]], chunk: NDArray[np.int64], count: int
) -> list[NDArray[np.int64]]:
    """Cut a chunk of :func:`by_length` into at most ``count`` parts of about equal tokens, ``LEAST`` at least."""
    lengths = np.concatenate([tokens.lengths[rows] for tokens, rows in parts])[chunk]
    ends = np.cumsum(lengths)
    count = int(min(count, max(1, ends[-1] // LEAST)))
    cuts = np.searchsorted(ends - lengths / 2, ends[-1] * np.arange(1, count) / count)
    return [part for part in np.split(chunk, cuts) if len(part)]
