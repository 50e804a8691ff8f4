"""An encoder made ready for a data set: the first value of a run, and what every searcher and guide reads."""

from __future__ import annotations

from dataclasses import dataclass

from bench.data.dataset import DataSet
from bench.data.tokens import Tokens
from bench.model.encoder import Encoder


@dataclass(frozen=True)
class Prepared:
    """A data set, an encoder, and the data set's ``queries`` and ``passages`` as the encoder's tokenizer cuts them.

    ``precision`` is resolved (``bf16``, ``fp16``, ``fp32``).
    """

    data: DataSet
    encoder: Encoder
    queries: Tokens
    passages: Tokens
    precision: str
