"""From a declaration of negatives in ``strategies.negatives`` to passage ids."""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch

import numpy as np
from numpy.typing import NDArray

from bench.data.dataset import Ids
from bench.model.embedding import Cost
from bench.negatives.context import NegativesContext
from strategies.negatives import InBatch, Negatives, NoNegatives


@dataclass(frozen=True)
class Drawn:
    """The negatives sampled for Q queries: passage ids [Q, n].

    ``free`` [Q, n] marks places without a negative; they hold the query's positive, which the loss masks.
    ``above`` [Q, n] marks those that the miner scored above the positive; it is None without a miner. ``again`` says
    whether later ones have replaced those of the start; it is None where none are to be replaced.
    """

    ids: Ids
    free: NDArray[np.bool_]
    above: NDArray[np.bool_] | None = None
    again: bool | None = None

    def take(self, rows: Ids) -> Drawn:
        """The negatives of some of the queries."""
        return Drawn(self.ids[rows], self.free[rows], None if self.above is None else self.above[rows], self.again)


class NegativeSampler:
    """Samples the negatives of a batch; this base class samples none."""

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
        """Search again with the current encoder; every rank calls it."""
        return Cost()

    def settle(self, step: int) -> None:
        """Note that a checkpoint has the refresh at ``step``, so that earlier ones can be removed."""

    def resume(self, refreshed: int | None) -> None:
        """In a new process, restore the state after the refresh at a step; None: there was none.

        It is the last one that the checkpoint has. A later one, of which the checkpoint lacks the cost, is due again.
        """


@singledispatch
def negative_sampler(declaration: Negatives, context: NegativesContext) -> NegativeSampler:
    """The sampler of a declaration. One function is registered for each kind of declaration."""
    raise TypeError(f"there is no sampler for {type(declaration).__name__}")


@negative_sampler.register(InBatch)
@negative_sampler.register(NoNegatives)
def _nothing_sampled(declaration: Negatives, context: NegativesContext) -> NegativeSampler:
    return NegativeSampler()
