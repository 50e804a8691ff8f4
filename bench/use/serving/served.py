"""What is served: an encoder, what is known of it, and the corpus that it searches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from bench.data.dataset import Floats
from bench.data.tokens import Tokens
from bench.model.config import Reading
from bench.use.corpus import Corpus
from bench.use.embedder import Embedder

DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


class Encodes(Protocol):
    """Anything that turns texts into vectors, such as :class:`bench.use.embedder.Embedder`.

    One thread calls :meth:`vectors`, while another one may call :meth:`tokens`.
    """

    def vectors(self, texts: Sequence[str], role: str | None = None, *, raw: bool = False) -> Floats:
        """[n, d] unit vectors of the texts as ``query`` or ``passage``; ``raw``: before normalisation."""

    def tokens(self, texts: Sequence[str], role: str | None = None) -> Tokens:
        """The texts as tokens, cut to the length of the role."""


@dataclass(frozen=True)
class Served:
    """An encoder under a name.

    ``strategy`` and ``data`` are the run's, None for an encoder that is no run. ``dim`` is the length of its vectors,
    ``tokenizer`` that of ``transformers``, ``dtype`` the number format that it computes in.
    """

    name: str
    encoder: Encodes
    tokenizer: Any
    dim: int
    dtype: str
    pooling: str
    query: Reading
    passage: Reading
    strategy: str | None = None
    data: str | None = None
    corpus: Corpus | None = None

    @classmethod
    def of(cls, name: str, embedder: Embedder, corpus: Corpus | None, strategy: str | None, data: str | None) -> Served:
        """An encoder of PyTorch."""
        encoder = embedder.encoder
        config, dtype = encoder.config, DTYPES[embedder.precision]
        return cls(
            name,
            embedder,
            encoder.tokenizer,
            encoder.dim,
            dtype,
            encoder.pooling,
            config.query,
            config.passage,
            strategy,
            data,
            corpus,
        )

    @property
    def longest(self) -> int:
        """Tokens that a text is cut to where no role is given."""
        return max(self.query.tokens, self.passage.tokens)
