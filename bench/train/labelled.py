"""Pairs of texts with a class or a score: what a step encodes, and the batch made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from bench.data.dataset import Ids, TextPairs
from bench.data.tokens import Tokens
from bench.model.encoder import Encoded
from bench.negatives import Drawn, Side
from bench.train.batch import Surroundings
from bench.train.example_set import ExampleSet, Parts, Request
from strategies.batch import LabelledBatch


@dataclass(frozen=True)
class _LabelledRequest(Request):
    parts: Parts
    label: NDArray[np.generic]

    def batch(self, encoded: Encoded, around: Surroundings) -> LabelledBatch:
        half, (left_ids, right_ids) = len(self.label), (rows for _, rows in self.parts)
        mine = (encoded.unit[:half], encoded.unit[half:], encoded.raw[:half], encoded.raw[half:])
        device = encoded.unit.device
        ids = (torch.from_numpy(each).to(device) for each in (self.label, left_ids, right_ids))
        left, right, left_raw, right_raw, label, lefts, rights = map(around.joined, (*mine, *ids))
        seen = None if around.view is None else around.view.vectors(lefts.cpu().numpy(), rights.cpu().numpy())
        guide = None
        if seen is not None:
            u, v = (vectors.to(device) for vectors in seen)
            guide = LabelledBatch(u, v, u, v, label)
        return LabelledBatch(left, right, left_raw, right_raw, label, around.head, guide)


@dataclass(frozen=True)
class LabelledExamples(ExampleSet):
    """Pairs of texts, ``left`` [n] and ``right`` [n] being rows of ``tokens``, each with a ``label`` [n].

    Labels are classes (int64) or scores (float32).
    """

    tokens: Tokens
    left: Ids
    right: Ids
    label: NDArray[np.generic]

    @classmethod
    def of(
        cls, tokens: Tokens, tasks: Iterable[TextPairs], label_of: Callable[[TextPairs], NDArray[np.generic]]
    ) -> LabelledExamples:
        """The pairs of all ``tasks``, whose texts are rows of ``tokens``, with the labels ``label_of`` gives them."""
        left, right, label = zip(*((pairs.left, pairs.right, label_of(pairs)) for pairs in tasks), strict=True)
        return cls(tokens, np.concatenate(left), np.concatenate(right), np.concatenate(label))

    def __len__(self) -> int:
        return len(self.label)

    def request(self, rows: Ids, drawn: Drawn | None, step: int, rank: int = 0) -> Request:
        return _LabelledRequest([(self.tokens, self.left[rows]), (self.tokens, self.right[rows])], self.label[rows])

    def vocabulary(self, reach: Ids) -> Ids:
        return np.unique(self.tokens.take(np.union1d(self.left, self.right)))

    def sides(self) -> tuple[Side, Side]:
        return (self.tokens, np.unique(self.left)), (self.tokens, np.unique(self.right))
