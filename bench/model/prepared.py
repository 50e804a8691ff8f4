"""An encoder with a data set's tokens: the first value of a run, and the input of searchers and guides."""

from __future__ import annotations

from dataclasses import dataclass

from bench.data.dataset import DataSet
from bench.data.tokens import Tokens
from bench.model.encoder import Encoder


@dataclass(frozen=True)
class Prepared:
    """A data set, an encoder, and the data set's ``queries`` and ``passages`` as tokens of the encoder.

    ``precision`` is resolved (``bf16``, ``fp16``, ``fp32``).
    """

    data: DataSet
    encoder: Encoder
    queries: Tokens
    passages: Tokens
    precision: str
