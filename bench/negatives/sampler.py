"""Carrying out a declaration of negatives: from ``strategies.negatives`` to passage ids."""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch

import numpy as np
from numpy.typing import NDArray

from bench.data.dataset import Ids
from bench.model.embedding import Cost
from bench.negatives.context import NegativesContext
from strategies.negatives import InBatch, Negatives


@dataclass(frozen=True)
class Drawn:
    """The negatives sampled for Q queries: passage ids [Q, n].

    A place of ``free`` [Q, n] holds no negative, only the query's positive, which no loss pushes away.
    ``above`` [Q, n] tells which ones the miner scored above the positive, and is None without a miner.
    """

    ids: Ids
    free: NDArray[np.bool_]
    above: NDArray[np.bool_] | None = None

    def take(self, rows: Ids) -> Drawn:
        """Those of some of the queries."""
        return Drawn(self.ids[rows], self.free[rows], None if self.above is None else self.above[rows])


class NegativeSampler:
    """Where the sampled negatives of a batch come from; this one samples none."""

    cost = Cost()  # of what was made ready before training

    def draw(self, rows: Ids, step: int) -> Drawn | None:
        """The negatives of the training pairs ``rows`` [Q] at a step, or None where none are sampled."""
        return None

    def reach(self) -> Ids:
        """Ids of all passages that can be drawn."""
        return np.zeros(0, dtype=np.int64)

    def due(self, step: int) -> bool:
        """Whether :meth:`refresh` is to be called before ``step`` (counted from 0)."""
        return False

    def refresh(self, step: int) -> Cost:
        """Search again with the encoder as it is now."""
        return Cost()

    def settle(self, step: int) -> None:
        """The refresh at ``step`` is part of a checkpoint: earlier ones are not needed any more."""

    def resume(self, step: int) -> None:
        """Go back to the state after the refresh before ``step`` was reached, in a new process."""


@singledispatch
def negative_sampler(declaration: Negatives, context: NegativesContext) -> NegativeSampler:
    """What carries out a declaration. One function is registered for each kind of declaration."""
    raise TypeError(f"nothing carries out {type(declaration).__name__}")


@negative_sampler.register
def _in_batch(declaration: InBatch, context: NegativesContext) -> NegativeSampler:
    return NegativeSampler()
