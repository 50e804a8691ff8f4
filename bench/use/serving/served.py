"""What is served: an encoder, what is known of it, and the corpus that it searches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from bench.errors import UserError
from bench.model.config import Reading
from bench.use.corpus import Corpus
from bench.use.embedder import Embedder, TextEmbedder
from bench.use.onnx_embedder import OnnxEmbedder

DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


@dataclass(frozen=True)
class Served:
    """An encoder under a name.

    ``tokenizer`` is that of ``transformers``, ``dim`` the length of its vectors, ``dtype`` the number format that it
    computes in. ``strategy`` and ``data`` are the run's, None for an encoder that is no run. ``raw`` says whether it
    also gives vectors before normalisation.
    """

    name: str
    encoder: TextEmbedder
    tokenizer: Any
    dim: int
    dtype: str
    pooling: str
    query: Reading
    passage: Reading
    strategy: str | None = None
    data: str | None = None
    corpus: Corpus | None = None
    raw: bool = True

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

    def by_onnx(self, embedder: OnnxEmbedder) -> Served:
        """The same run, whose texts are embedded by its export to ONNX.

        Raises :class:`UserError` for an export of vectors of another size, or that reads texts in another way.
        """
        about = embedder.about
        if (about.dim, about.query, about.passage) != (self.dim, self.query, self.passage):
            raise UserError(
                f"--onnx is an export of another encoder than {self.name}: `bench export {self.name} --to onnx`"
            )
        dtype = "int8" if about.int8 else "float32"
        return replace(self, encoder=embedder, tokenizer=embedder.tokenizer, dtype=dtype, raw=False)

    @property
    def longest(self) -> int:
        """Tokens that a text is cut to where no role is given."""
        return max(self.query.tokens, self.passage.tokens)
