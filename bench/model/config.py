"""Settings of the encoder."""

from __future__ import annotations

from dataclasses import dataclass

from bench.errors import at_least, at_most, choice
from bench.setting import Name

POOLINGS = ("cls", "pooler", "mean", "first_last_mean")


@dataclass(frozen=True)
class EncoderConfig:
    """The encoder of queries and passages: its weights, its pooling, and the longest texts.

    ``name`` is a preset (``minilm``, ``minilm-l3``, ``scratch``), a directory or a hub id. ``pooling`` is the
    hidden state of the first token (``cls``), the model's own pooler on it (``pooler``: dense and tanh), the
    mean of the last layer (``mean``) or of the first and the last (``first_last_mean``); None takes what the
    preset or the Sentence Transformers directory says, else ``mean``. ``output_dim`` adds a projection with
    dropout before normalisation, as PaddleNLP's model has. ``layers`` keeps those layers only.
    """

    name: Name = "minilm-l3"
    pooling: Name | None = None
    output_dim: int | None = None
    layers: tuple[int, ...] | None = None
    max_query_tokens: int = 64
    max_passage_tokens: int = 128
    query_prefix: str = ""
    passage_prefix: str = ""

    def __post_init__(self) -> None:
        if self.pooling is not None:
            choice("encoder.pooling", self.pooling, POOLINGS)
        if self.output_dim is not None:
            at_least("encoder.output_dim", self.output_dim, 1)
            at_most("encoder.output_dim", self.output_dim, 2**16)
        at_least("encoder.max_query_tokens", self.max_query_tokens, 3)
        at_least("encoder.max_passage_tokens", self.max_passage_tokens, 3)
