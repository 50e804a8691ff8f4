"""The devices that train together, and the communication between them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

T = TypeVar("T")
Ids = NDArray[np.int64]


class World:
    """All ranks that share the batches of one run; this base class has one rank.

    Every rank computes the same loss over the examples of all ranks, of which it encoded its own, so gradients are
    averaged over ranks. Rank 0 decides what could differ between ranks (the clock, a dev evaluation) and alone writes.
    """

    rank = 0
    size = 1

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """The tensor of every rank, in order of rank; ranks may have different numbers of rows.

        The gradient that comes back to a rank is the sum over ranks of the gradients by its part.
        """
        return [tensor]

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over ranks, added up in order of rank: the same on every one. It has no gradient."""
        return tensor

    def broadcast(self, value: T) -> T:
        """The value of rank 0, on every rank; all ranks wait for rank 0."""
        return value

    @property
    def first(self) -> bool:
        """Whether this is the rank that decides and writes."""
        return self.rank == 0

    def share(self, rows: Ids) -> Ids:
        """This rank's part of the rows of a batch, as positions; parts follow each other in order of rank."""
        return np.array_split(np.arange(len(rows)), self.size)[self.rank]

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its mean over ranks; a rank without a gradient counts as zero."""
        if self.size == 1:
            return
        for parameter in parameters:
            if parameter.requires_grad:
                own = parameter.new_zeros(parameter.shape) if parameter.grad is None else parameter.grad
                parameter.grad = self.sum(own) / self.size
