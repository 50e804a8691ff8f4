"""Mined negatives that are replaced one by one when the encoder in training finds them easy."""

from __future__ import annotations

import logging
from pathlib import Path
from time import perf_counter

import numpy as np

from bench.cache import Entry
from bench.data.dataset import Floats, Ids
from bench.model.embedding import Cost, encode
from bench.negatives.context import NegativesContext
from bench.negatives.kept import KeptSteps
from bench.negatives.pool_sampler import depth_of, shared_pool
from bench.negatives.sampler import Drawn, NegativeSampler, negative_sampler
from bench.together import made_together
from strategies.negatives import Replaced

log = logging.getLogger(__name__)

AT_ONCE = 4096  # pairs of vectors that are multiplied


class ReplacingSampler(NegativeSampler):
    """The negatives of each query are ranks of a pool, ``rank`` [Q, n], with their first scores, ``score`` [Q, n].

    ``next`` [Q] is the highest rank that has not been a negative of the query yet. ``replaced`` is the step before
    which they were last scored.
    """

    def __init__(self, declaration: Replaced, context: NegativesContext) -> None:
        assert declaration.refresh is not None, "it says how often negatives are scored"
        self.wanted, self.context, self.pairs, self.every = declaration, context, context.pairs, declaration.refresh
        depth = depth_of(declaration.last, context)
        self.pool = shared_pool(declaration.by, depth, context)
        self.cost = self.pool.cost
        self.kept = KeptSteps("negatives", context)
        self.last = min(declaration.last, depth)
        self._begin()

    def _begin(self) -> None:
        begin = np.arange(self.wanted.first, self.wanted.first + self.wanted.n)
        self.rank: Ids = np.tile(begin, (len(self.pairs.split), 1))
        self.score: Floats = np.asarray(self.pool.entries["score"][:, begin])
        self.next: Ids = np.full(len(self.rank), self.wanted.first + self.wanted.n)
        self.replaced = 0

    def draw(self, rows: Ids, step: int) -> Drawn:
        of = self.pairs.row[rows]
        entries = self.pool.entries[of[:, None], self.rank[of]]
        above = entries["score"] > self.pool.positives[rows][:, None]
        free, again = np.zeros(above.shape, dtype=np.bool_), bool((self.next > self.wanted.first + self.wanted.n).any())
        return Drawn(entries["passage"].astype(np.int64), free, above, again)

    def reach(self) -> Ids:
        return np.unique(self.pool.entries["passage"][:, self.wanted.first : self.last].astype(np.int64))

    def due(self, step: int) -> bool:
        return step > 0 and step % self.every == 0 and self.replaced != step

    def refresh(self, step: int) -> Cost:
        start, name = perf_counter(), self.kept.begin(step)
        entry = made_together(self.kept.cache, name, self._replace, self.context.world)
        self._take(entry, step)
        log.info("replaced %d of %d negatives that had become easy", entry.facts["replaced"], self.rank.size)
        return Cost(perf_counter() - start, int(entry.facts["texts"]))

    def _replace(self, place: Path) -> dict[str, int]:
        """Score all negatives, and write the state after replacing the easy ones."""
        now, texts = self._scores(self.rank, np.ones_like(self.rank, dtype=np.bool_))
        easy = (now * self.wanted.factor < self.score) & (self.score > 0)  # a factor says nothing of those below 0
        further = self.next[:, None] + np.cumsum(easy, axis=1) - 1
        taken = easy & (further < self.last)
        rank = np.where(taken, further, self.rank)
        first, more = self._scores(rank, taken)
        np.save(place / "rank.npy", rank)
        np.save(place / "score.npy", np.where(taken, first, self.score))
        np.save(place / "next.npy", self.next + taken.sum(axis=1))
        return {"replaced": int(taken.sum()), "texts": texts + more}

    def _scores(self, rank: Ids, which: np.ndarray) -> tuple[Floats, int]:
        """The cosines [Q, n] of the queries with the passages of these ranks by the encoder in training, where
        ``which`` [Q, n] says so, and 0 elsewhere; and how many texts were encoded."""
        prepared, world = self.context.encoder("current"), self.context.world
        row, column = np.nonzero(which)
        ids = self.pool.entries["passage"][row, rank[row, column]].astype(np.int64)
        asked, passages = np.unique(row), np.unique(ids)
        with self.context.task("scoring negatives", len(asked) + len(passages)) as advance:
            queries, found = (
                encode(prepared.encoder, of, prepared.precision, rows, advance, world=world)
                for of, rows in ((prepared.queries, self.pairs.split.queries[asked]), (prepared.passages, passages))
            )
        scores: Floats = np.zeros(rank.shape, dtype=np.float32)
        for block in np.array_split(np.arange(len(row)), -(-len(row) // AT_ONCE) or 1):
            left = queries[np.searchsorted(asked, row[block])]
            right = found[np.searchsorted(passages, ids[block])]
            scores[row[block], column[block]] = np.einsum("td,td->t", left, right)
        return scores, len(asked) + len(passages)

    def _take(self, entry: Entry, step: int) -> None:
        self.rank, self.score, self.next = (np.array(entry.array(name)) for name in ("rank", "score", "next"))
        self.replaced = step

    def settle(self, step: int) -> None:
        self.kept.only(step)

    def resume(self, refreshed: int | None) -> None:
        if refreshed is not None:
            self._take(self.kept.get(refreshed), refreshed)


@negative_sampler.register
def _replaced(declaration: Replaced, context: NegativesContext) -> NegativeSampler:
    return ReplacingSampler(declaration, context)
