"""The contract of examples as tokens: which texts a step encodes, and the batch made of them."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from bench.data.dataset import Ids
from bench.data.tokens import Tokens
from bench.model.encoder import Encoded
from bench.negatives import Drawn
from bench.train.batch import Surroundings
from strategies.batch import Batch, LabelledBatch

Parts = list[tuple[Tokens, Ids]]


class Request(ABC):
    """The texts that one rank encodes in a step, as (tokens, rows), and the batch made of them."""

    parts: Parts

    @property
    def texts(self) -> int:
        return sum(len(rows) for _, rows in self.parts)

    @abstractmethod
    def batch(self, encoded: Encoded, around: Surroundings) -> Batch | LabelledBatch:
        """The batch of all ranks; ``encoded`` has the vectors of ``parts``, one after the other."""


class ExampleSet(ABC):
    """Examples to sample from, each once an epoch."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of examples."""

    @abstractmethod
    def request(self, rows: Ids, drawn: Drawn | None, step: int, rank: int = 0) -> Request:
        """What the examples ``rows`` [n], with the negatives ``drawn`` for them, need encoded.

        Random changes of the texts depend only on ``step`` and ``rank``.
        """

    @abstractmethod
    def vocabulary(self, reach: Ids) -> Ids:
        """Ids of all tokens that a batch can have when it may hold the passages ``reach`` as sampled negatives."""

    def passages(self) -> Ids:
        """Ids of the data set's passages that batches can hold without sampling any."""
        return np.zeros(0, dtype=np.int64)
