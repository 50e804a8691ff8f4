"""Mined negatives that make way for the next ranks when the encoder in training finds them easy."""

from __future__ import annotations

import logging
from pathlib import Path
from time import perf_counter

import numpy as np

from bench.cache import Entry
from bench.data.dataset import Floats, Ids
from bench.errors import UserError
from bench.model.embedding import Cost, encode
from bench.negatives.context import NegativesContext
from bench.negatives.kept import KeptSteps
from bench.negatives.pool_sampler import depth_of, shared_pool
from bench.negatives.sampler import Drawn, NegativeSampler, negative_sampler
from bench.together import made_together
from strategies.negatives import Replaced

log = logging.getLogger(__name__)

AT_ONCE = 512  # queries whose negatives are scored at once


class ReplacingSampler(NegativeSampler):
    """A query's negatives are ``n`` consecutive ranks of a pool, from rank ``first + replacements * n``.

    ``replacements`` [Q] counts how often a query's were replaced, and ``first_mean`` [Q] is their mean score when they
    became its negatives. ``scored`` is the step before which all were last scored.
    """

    def __init__(self, declaration: Replaced, context: NegativesContext) -> None:
        assert declaration.refresh is not None, "it says how often negatives are scored"
        self.wanted, self.context, self.pairs, self.every = declaration, context, context.pairs, declaration.refresh
        depth = depth_of(declaration.last, context)
        if depth < declaration.first + 2 * declaration.n:
            raise UserError(
                f"every query has {depth} passages that can be its negatives, too few for strategy.n={declaration.n} "
                f"from rank strategy.first={declaration.first} and as many that replace them; lower one of them"
            )
        self.pool = shared_pool(declaration.by, depth, context)
        self.cost = self.pool.cost
        self.kept = KeptSteps("negatives", context)
        self.last = min(declaration.last, depth)
        begin = slice(declaration.first, declaration.first + declaration.n)
        self.replacements: Ids = np.zeros(len(self.pairs.split), dtype=np.int64)
        self.first_mean: Floats = np.asarray(self.pool.entries["score"][:, begin]).mean(axis=1)
        self.scored = 0

    def _negatives(self, of: Ids, replacements: Ids) -> np.ndarray:
        """[len(of), n] what the pool has of these queries' negatives after so many ``replacements`` [Q]."""
        rank = self.wanted.first + replacements[of, None] * self.wanted.n + np.arange(self.wanted.n)
        entries: np.ndarray = self.pool.entries[of[:, None], rank]
        return entries

    def draw(self, rows: Ids, step: int) -> Drawn:
        entries = self._negatives(self.pairs.row[rows], self.replacements)
        above = entries["score"] > self.pool.positives[rows][:, None]
        free = np.zeros(above.shape, dtype=np.bool_)
        return Drawn(entries["passage"].astype(np.int64), free, above, bool(self.replacements.any()))

    def reach(self) -> Ids:
        return np.unique(self.pool.entries["passage"][:, self.wanted.first : self.last].astype(np.int64))

    def due(self, step: int) -> bool:
        return step > 0 and step % self.every == 0 and self.scored != step

    def refresh(self, step: int) -> Cost:
        start, name = perf_counter(), self.kept.begin(step)
        entry = made_together(self.kept.cache, name, self._replace, self.context.world)
        self._take(entry, step)
        log.info("replaced the negatives of %d of %d queries", entry.facts["replaced"], len(self.replacements))
        return Cost(perf_counter() - start, int(entry.facts["texts"]))

    def _replace(self, place: Path) -> dict[str, int]:
        """Score all negatives, and write the state after replacing the easy ones."""
        wanted, world = self.wanted, self.context.world
        replacements, first_mean = self.replacements.copy(), self.first_mean.copy()
        now, texts = self._means(np.arange(len(replacements)), replacements)
        easy = (now * wanted.factor < first_mean) & (np.abs(now) < wanted.limit)
        easy &= first_mean > 0  # a factor says nothing of those below 0
        left = wanted.first + (replacements + 2) * wanted.n <= self.last
        (replaced,) = np.nonzero(world.broadcast(easy & left))
        replacements[replaced] += 1
        first_mean[replaced], more = self._means(replaced, replacements)
        np.save(place / "replacements.npy", replacements)
        np.save(place / "first_mean.npy", first_mean)
        return {"replaced": len(replaced), "texts": texts + more}

    def _means(self, of: Ids, replacements: Ids) -> tuple[Floats, int]:
        """The mean cosine [len(of)] of each of these queries with its negatives after so many ``replacements``, by the
        encoder in training, and how many texts were encoded."""
        prepared, world = self.context.encoder("current"), self.context.world
        ids = self._negatives(of, replacements)["passage"].astype(np.int64)
        passages = np.unique(ids)
        with self.context.task("scoring negatives", len(of) + len(passages)) as advance:
            queries, found = (
                encode(prepared.encoder, texts, prepared.precision, rows, advance, world=world)
                for texts, rows in ((prepared.queries, self.pairs.split.queries[of]), (prepared.passages, passages))
            )
        means: Floats = np.zeros(len(of), dtype=np.float32)
        for block in np.array_split(np.arange(len(of)), -(-len(of) // AT_ONCE) or 1):
            negatives = found[np.searchsorted(passages, ids[block])]
            means[block] = np.einsum("qd,qnd->q", queries[block], negatives) / self.wanted.n
        return means, len(of) + len(passages)

    def _take(self, entry: Entry, step: int) -> None:
        self.replacements, self.first_mean = (np.array(entry.array(name)) for name in ("replacements", "first_mean"))
        self.scored = step

    def settle(self, step: int) -> None:
        self.kept.only(step)

    def resume(self, refreshed: int | None) -> None:
        if refreshed is not None:
            self._take(self.kept.get(refreshed), refreshed)


@negative_sampler.register
def _replaced(declaration: Replaced, context: NegativesContext) -> NegativeSampler:
    return ReplacingSampler(declaration, context)
