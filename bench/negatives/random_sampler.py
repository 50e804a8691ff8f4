"""Negatives drawn at random: from the corpus, from a pool of it, or from those that the data set provides."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.data.dataset import Floats, Ids, Ragged
from bench.data.pairs import Pairs
from bench.negatives.context import NegativesContext
from bench.negatives.sampler import Drawn, NegativeSampler, negative_sampler
from strategies.negatives import Provided, RandomGlobal

STEP, POOL = 1, 2  # what a stream of random numbers is for


def stream(seed: int, purpose: int, step: int = 0) -> np.random.Generator:
    """A random generator that depends only on its purpose, not on earlier draws."""
    return np.random.default_rng([seed, purpose, step])


def distinct(rng: np.random.Generator, rows: int, n: int, size: int) -> Ids:
    """[rows, n] numbers below ``size``, distinct within each row."""
    if n * n > size:
        return rng.permuted(np.tile(np.arange(size), (rows, 1)), axis=1)[:, :n]
    drawn = rng.integers(size, size=(rows, n))
    while True:
        ordered = np.sort(drawn, axis=1)
        alike = (ordered[:, 1:] == ordered[:, :-1]).any(axis=1)
        if not alike.any():
            return drawn
        drawn[alike] = rng.integers(size, size=(int(alike.sum()), n))


class RandomSampler(NegativeSampler):
    def __init__(self, n: int, pool: int | None, size: int, pairs: Pairs, seed: int) -> None:
        self.n, self.size, self.seed = n, size, seed
        self.row_of_pair = pairs.row
        self.pools = None if pool is None else distinct(stream(seed, POOL), len(pairs.split), pool, size)

    def draw(self, rows: Ids, step: int) -> Drawn:
        rng = stream(self.seed, STEP, step)
        if self.pools is None:
            ids = distinct(rng, len(rows), self.n, self.size)
        else:
            pools = self.pools[self.row_of_pair[rows]]
            ids = np.take_along_axis(pools, distinct(rng, len(rows), self.n, pools.shape[1]), axis=1)
        return Drawn(ids, np.zeros(ids.shape, dtype=np.bool_))

    def reach(self) -> Ids:
        return np.arange(self.size) if self.pools is None else np.unique(self.pools)


class ProvidedSampler(NegativeSampler):
    def __init__(self, n: int, negatives: Ragged, pairs: Pairs, seed: int) -> None:
        self.n, self.negatives, self.pairs, self.seed = n, negatives, pairs, seed

    def draw(self, rows: Ids, step: int) -> Drawn:
        picked, free = pick(stream(self.seed, STEP, step), self.negatives.take(self.pairs.row[rows]), self.n)
        return Drawn(np.where(free, self.pairs.positive[rows][:, None], picked), free)

    def reach(self) -> Ids:
        return np.unique(self.negatives.values)


def pick(rng: np.random.Generator, lists: Ragged, n: int) -> tuple[Ids, NDArray[np.bool_]]:
    """``n`` random elements of each list, [rows, n], and a mask of places for which none was left.

    No value is taken twice from a list.
    """
    lengths = lists.lengths
    row = np.repeat(np.arange(len(lists)), lengths)
    shuffled = lists.values[np.lexsort((rng.random(len(row)), row))]
    place = lists.offsets[:-1, None] + np.arange(n)
    free = np.arange(n) >= lengths[:, None]
    if not len(shuffled):
        return np.zeros(place.shape, dtype=np.int64), free
    return shuffled[np.where(free, 0, place)], free


def weighted(rng: np.random.Generator, log_weight: Floats, n: int) -> tuple[Ids, NDArray[np.bool_]]:
    """``n`` columns of each row of ``log_weight`` [rows, m], [rows, n], and a mask of places for which none was left.

    They are drawn one after the other without replacement, each by its weight among those that are left: the order of
    weights times exponential noise (Gumbel). A column of weight 0, minus infinity here, is never drawn.
    """
    order = np.argsort(-(log_weight + rng.gumbel(size=log_weight.shape)), axis=1, kind="stable")[:, :n]
    return order, np.isneginf(np.take_along_axis(log_weight, order, axis=1))


@negative_sampler.register
def _random(declaration: RandomGlobal, context: NegativesContext) -> NegativeSampler:
    size = len(context.data.passages)
    return RandomSampler(declaration.n, declaration.pool, size, context.pairs, context.seed)


@negative_sampler.register
def _provided(declaration: Provided, context: NegativesContext) -> NegativeSampler:
    negatives = context.pairs.split.negatives
    if negatives is None:
        raise ValueError("the data set provides no negatives")
    return ProvidedSampler(declaration.n, negatives, context.pairs, context.seed)
