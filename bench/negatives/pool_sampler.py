"""Mined negatives: drawn from pools that runs share, or that one run searches repeatedly."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.cache import Cache
from bench.data.dataset import Floats, Ids, Ragged
from bench.data.tokens import Tokens
from bench.model.embedding import Cost, Vectors, embed, encode, weights_digest
from bench.model.prepared import Prepared
from bench.negatives.context import NegativesContext
from bench.negatives.kept import KeptSteps
from bench.negatives.near import drawn_near
from bench.negatives.pool import Pool, Searcher, build_pool, read_pool
from bench.negatives.random_sampler import STEP, pick, stream
from bench.negatives.sampler import Drawn, NegativeSampler, negative_sampler
from bench.negatives.searchers import BM25Searcher, DenseSearcher
from strategies.negatives import Mined, Near

log = logging.getLogger(__name__)

LEAST_DEPTH = 256  # so that runs which differ in their ranks share one pool


class PoolSampler(NegativeSampler):
    """Draws from a pool; with ``refresh``, the pool is searched again with the current encoder."""

    def __init__(self, declaration: Mined, context: NegativesContext) -> None:
        self.wanted, self.context, self.pairs = declaration, context, context.pairs
        self.depth = depth_of(declaration.last, context)
        self.kept = KeptSteps("pool", context)
        self.pool: Pool | None = None
        self.searched: int | None = None  # the step before which the pool was last searched
        self.vectors: Vectors | None = None  # of all passages, where the choice needs them
        if declaration.refresh is None:
            self.pool = shared_pool(declaration.by, self.depth, context)
            self.cost = self.pool.cost
        if isinstance(declaration.choice, Near) and declaration.choice.candidates is not None:
            prepared, everything = context.encoder(declaration.by), np.arange(len(context.data.passages))
            self.vectors, _ = _embedded(prepared, prepared.passages, everything, context)  # the pool's cost has theirs

    def draw(self, rows: Ids, step: int) -> Drawn:
        assert self.pool is not None, "refresh comes before the first draw"
        w = self.wanted
        entries = self.pool.entries[self.pairs.row[rows], w.first : w.last]
        score, positive = entries["score"], self.pool.positives[rows][:, None]
        fit = np.isfinite(score)
        if w.absolute_margin is not None:
            fit &= score <= positive - w.absolute_margin
        if w.relative_margin is not None:
            fit &= score <= positive - w.relative_margin * np.abs(positive)
        place, free = self._choose(fit, entries, rows, step)
        ids = np.take_along_axis(entries["passage"].astype(np.int64), place, axis=1)
        above = np.take_along_axis(score > positive, place, axis=1) & ~free
        again = None if w.refresh is None else self.searched not in (None, 0)
        return Drawn(np.where(free, self.pairs.positive[rows][:, None], ids), free, above, again)

    def _choose(
        self, fit: NDArray[np.bool_], entries: NDArray[np.void], rows: Ids, step: int
    ) -> tuple[Ids, NDArray[np.bool_]]:
        """For each of the pairs ``rows``, the columns of ``n`` eligible entries, and a mask of places without one."""
        if isinstance(self.wanted.choice, Near):
            return self._near(self.wanted.choice, fit, entries, rows, step)
        _, column = np.nonzero(fit)
        offsets = np.zeros(len(fit) + 1, dtype=np.int64)
        np.cumsum(fit.sum(1), out=offsets[1:])
        lists = Ragged(offsets, column)
        if self.wanted.choice == "random":
            return pick(stream(self.context.seed, STEP, step), lists, self.wanted.n)
        place = np.argsort(~fit, axis=1, kind="stable")[:, : self.wanted.n]
        return place, ~np.take_along_axis(fit, place, axis=1)

    def _near(
        self, near: Near, fit: NDArray[np.bool_], entries: NDArray[np.void], rows: Ids, step: int
    ) -> tuple[Ids, NDArray[np.bool_]]:
        assert self.pool is not None

        def to_positive(passages: Ids) -> Floats:
            assert self.vectors is not None
            found = self.vectors.take(passages.ravel()).reshape(*passages.shape, -1)
            cosines: Floats = np.einsum("qmd,qd->qm", found, self.vectors.take(self.pairs.positive[rows]))
            return cosines

        passages = entries["passage"].astype(np.int64), entries["score"], fit
        rng = stream(self.context.seed, STEP, step)
        return drawn_near(near, rng, passages, self.pool.positives[rows], self.wanted.n, to_positive)

    def reach(self) -> Ids:
        if self.pool is None:
            return np.arange(len(self.context.data.passages))
        return np.unique(self.pool.entries["passage"][:, self.wanted.first : self.wanted.last].astype(np.int64))

    def due(self, step: int) -> bool:
        if self.wanted.refresh is None or self.searched == step:
            return False
        return self.pool is None or step % self.wanted.refresh == 0

    def refresh(self, step: int) -> Cost:
        start = perf_counter()
        name = self.kept.begin(step)
        searcher = _searcher(self.wanted.by, self.context, current=True)
        self.pool = _build(name, lambda: searcher, self.depth, self.context, self.kept.cache)
        self.searched = step
        return Cost(perf_counter() - start, searcher.cost.texts)

    def settle(self, step: int) -> None:
        self.kept.only(step)

    def resume(self, refreshed: int | None) -> None:
        if refreshed is not None:
            self.pool, self.searched = read_pool(self.kept.get(refreshed)), refreshed


@negative_sampler.register
def _mined(declaration: Mined, context: NegativesContext) -> NegativeSampler:
    return PoolSampler(declaration, context)


def depth_of(last: int, context: NegativesContext) -> int:
    most = len(context.data.passages) - int(context.pairs.split.relevant.lengths.max(initial=0))
    return min(max(last, LEAST_DEPTH), most)


def shared_pool(by: str, depth: int, context: NegativesContext) -> Pool:
    """The pool of a searcher that does not change, from the cache if it is there."""
    if by == "bm25":
        who = "bm25 1"
    else:
        prepared = context.encoder(by)
        who = f"{weights_digest(prepared.encoder)} {prepared.encoder.recipe} {prepared.precision}"
        for of in (prepared.queries, prepared.passages):
            who += f" {of.prompt} {_digest(of.offsets, of.ids)}"
    split = context.pairs.split
    asked = _digest(split.queries, split.relevant.offsets, split.relevant.values)
    key = hashlib.sha256(f"{context.data.fingerprint} {who} {depth} {asked}".encode()).hexdigest()[:24]

    def searcher() -> Searcher:
        named = "the encoder that this stage starts from" if by == "start" else by
        log.info("mining %d passages for each of %d queries by %s", depth, len(split), named)
        return _searcher(by, context)

    return _build(f"pool-{key}", searcher, depth, context, context.cache)


def _digest(*parts: NDArray[np.integer[Any]]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(np.ascontiguousarray(part, dtype="<i8").data)
    return digest.hexdigest()


def _searcher(by: str, context: NegativesContext, current: bool = False) -> Searcher:
    """The searcher of a name; vectors of the encoder in training (``current``) are not cached."""
    split, everything = context.pairs.split, np.arange(len(context.data.passages))
    if by == "bm25":
        return BM25Searcher(context.data, split)
    prepared = context.encoder(by)
    asked = ((prepared.queries, split.queries), (prepared.passages, everything))
    device, memory = str(prepared.encoder.device), context.config.memory_mb
    if current:
        with context.task("embedding for mining", len(split) + len(everything)) as advance:
            queries, passages = (
                encode(prepared.encoder, of, prepared.precision, rows, advance, world=context.world)
                for of, rows in asked
            )
        return DenseSearcher(queries, passages, device, Cost(texts=len(split) + len(everything)), memory)
    (queried, first), (searched, second) = (_embedded(prepared, *each, context) for each in asked)
    return DenseSearcher(queried.matrix, searched.matrix, device, first + second, memory)


def _embedded(prepared: Prepared, of: Tokens, rows: Ids, context: NegativesContext) -> tuple[Vectors, Cost]:
    return embed(prepared, of, rows, context.cache, context.task, "embedding for mining", world=context.world)


def _build(name: str, searcher: Callable[[], Searcher], depth: int, context: NegativesContext, cache: Cache) -> Pool:
    memory, split = context.config.memory_mb, context.pairs.split
    return build_pool(name, searcher, split, depth, memory, cache, context.task, context.world)
