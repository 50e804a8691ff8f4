"""Embedding texts with a trained encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch

from bench.data.dataset import Floats
from bench.data.tokens import Reader, Tokens
from bench.model.config import EncoderConfig
from bench.model.embedding import encode
from bench.model.encoder import Encoder
from bench.model.precision import resolve_device, resolve_precision
from bench.model.presets import build
from bench.use.texts import refuse_empty


class TextEmbedder(Protocol):
    """What embeds texts, whatever computes the vectors. One thread may call :meth:`vectors`, another :meth:`tokens`."""

    def vectors(
        self,
        texts: Sequence[str],
        role: str | None = None,
        progress: Callable[[int], None] | None = None,
        raw: bool = False,
    ) -> Floats:
        """[n, d] unit vectors of the texts, in their order, read as ``query`` or ``passage``; ``raw``: before
        normalisation.
        """
        ...

    def tokens(self, texts: Sequence[str], role: str | None = None) -> Tokens:
        """The texts as tokens, with the prefix of the role and cut to its length."""
        ...


@dataclass(frozen=True)
class Embedder:
    """An encoder and the number format that it computes in."""

    encoder: Encoder
    precision: str

    @classmethod
    def load(
        cls, settings: EncoderConfig, device: str = "auto", precision: str = "auto", texts: Sequence[str] = ()
    ) -> Embedder:
        """The encoder of ``settings``; a scratch model learns its vocabulary from ``texts``.

        The random state is left as it is. Raises :class:`UserError` for an encoder that cannot be found or used.
        """
        place = resolve_device(device)
        with torch.random.fork_rng(devices=[]):
            encoder = build(settings, texts, place, seed=0)
        encoder.check_lengths()
        return cls(encoder, resolve_precision(precision, place))

    @cached_property
    def _readers(self) -> dict[str | None, Reader]:
        return {}

    def tokens(self, texts: Sequence[str], role: str | None = None) -> Tokens:
        """The texts as tokens, with prefix and length of ``query`` or ``passage``; without a role, no prefix."""
        readings = {"query": self.encoder.config.query, "passage": self.encoder.config.passage}
        longest = max(reading.tokens for reading in readings.values()) if role is None else readings[role].tokens
        kept = self._readers
        if role not in kept:
            kept[role] = Reader.of(self.encoder.tokenizer, longest, "" if role is None else readings[role].prefix)
        return kept[role].read(texts)

    def vectors(
        self,
        texts: Sequence[str],
        role: str | None = None,
        progress: Callable[[int], None] | None = None,
        raw: bool = False,
    ) -> Floats:
        """[n, d] unit vectors of the texts, in their order; ``raw``: before normalisation.

        ``progress`` gets the number of texts of each batch.

        In float32 the vector of a text is the same within 1e-5, whatever other texts are beside it; equal texts have
        equal vectors. Raises :class:`UserError` for an empty text.
        """
        refuse_empty(texts, "texts")
        return encode(self.encoder, self.tokens(texts, role), self.precision, progress=progress, raw=raw)
