"""Mined negatives as a source: pools that are shared between runs, and those a run searches anew."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from bench.data.dataset import Ids, Ragged
from bench.model.presets import weights_digest
from bench.negatives.miners import BM25, Dense
from bench.negatives.mining import Miner, Pool, mine, read, remove
from bench.negatives.sampling import STEP, pick, stream
from bench.negatives.setting import Cost, Setting
from bench.negatives.source import Drawn, Source, source
from bench.negatives.vectors import embed
from strategies.negatives import Mined

log = logging.getLogger(__name__)

LEAST_DEPTH = 256  # so that runs which differ in their ranks share one pool


class _Mined(Source):
    def __init__(self, declaration: Mined, setting: Setting) -> None:
        self.wanted, self.setting, self.pairs = declaration, setting, setting.pairs
        self.depth = _depth(declaration.last, setting)
        self.pool: Pool | None = None
        self.searched: int | None = None  # the step before which the pool was last searched anew
        if declaration.refresh is None:
            self.pool = _shared(declaration.by, self.depth, setting)
            self.cost = self.pool.cost

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
        place, free = self._choose(fit, step)
        ids = np.take_along_axis(entries["passage"].astype(np.int64), place, axis=1)
        above = np.take_along_axis(score > positive, place, axis=1) & ~free
        return Drawn(np.where(free, self.pairs.positive[rows][:, None], ids), free, above)

    def _choose(self, fit: NDArray[np.bool_], step: int) -> tuple[Ids, NDArray[np.bool_]]:
        """Columns of ``n`` entries that fit, for each row, and which of them are none."""
        _, column = np.nonzero(fit)
        offsets = np.zeros(len(fit) + 1, dtype=np.int64)
        np.cumsum(fit.sum(1), out=offsets[1:])
        lists = Ragged(offsets, column)
        if self.wanted.choice == "random":
            return pick(stream(self.setting.seed, STEP, step), lists, self.wanted.n)
        place = np.argsort(~fit, axis=1, kind="stable")[:, : self.wanted.n]
        return place, ~np.take_along_axis(fit, place, axis=1)

    def reach(self) -> Ids:
        if self.pool is None:
            return np.arange(len(self.setting.data.passages))
        return np.unique(self.pool.entries["passage"][:, self.wanted.first : self.wanted.last].astype(np.int64))

    def due(self, step: int) -> bool:
        return self.wanted.refresh is not None and step % self.wanted.refresh == 0 and self.searched != step

    def refresh(self, step: int) -> Cost:
        start = perf_counter()
        miner = _miner(self.wanted.by, self.setting, None)
        self.pool = _search(miner, self.depth, self.setting, self._refreshed(step))
        self.searched = step
        return Cost(perf_counter() - start, miner.cost.texts)

    def settle(self, step: int) -> None:
        for path in self.setting.scratch.glob("pool-*.bin"):
            if path != self._refreshed(step):
                remove(path)

    def resume(self, step: int) -> None:
        if self.wanted.refresh is None:
            return
        last = step - step % self.wanted.refresh
        try:
            self.pool = read(self._refreshed(last), len(self.pairs.split), self.depth)
            self.searched = last
        except (OSError, ValueError):
            if step != last:  # else it is about to be searched
                raise

    def _refreshed(self, step: int) -> Path:
        return self.setting.scratch / f"pool-{step}.bin"


@source.register
def _mined(declaration: Mined, setting: Setting) -> Source:
    return _Mined(declaration, setting)


def _depth(last: int, setting: Setting) -> int:
    most = len(setting.data.passages) - int(setting.pairs.split.relevant.lengths.max(initial=0))
    return min(max(last, LEAST_DEPTH), most)


def _shared(by: str, depth: int, setting: Setting) -> Pool:
    """The pool of a miner that does not change, from the cache where it is there."""
    if by == "bm25":
        who = "bm25 1"
    else:
        reader = setting.reader(by)
        cut = hashlib.sha256(np.concatenate([reader.queries.offsets, reader.passages.offsets]).tobytes()).hexdigest()
        who = f"{weights_digest(reader.encoder)} {reader.encoder.pooling} {reader.precision} {cut}"
    split = setting.pairs.split
    digest = hashlib.sha256(f"{setting.data.fingerprint} {who} {depth}".encode())
    for part in (split.queries, split.relevant.offsets, split.relevant.values):
        digest.update(np.ascontiguousarray(part, dtype="<i8").data)
    directory = setting.scratch if setting.cache is None else setting.cache
    path = directory / f"pool-{digest.hexdigest()[:24]}.bin"
    try:
        return read(path, len(split), depth)
    except (OSError, ValueError, TypeError):
        log.info("mining %d passages for each of %d queries by %s", depth, len(split), by)
    return _search(_miner(by, setting, setting.cache), depth, setting, path)


def _miner(by: str, setting: Setting, cache: Path | None) -> Miner:
    if by == "bm25":
        return BM25(setting.data, setting.pairs.split)
    reader = setting.reader(by)
    queries, first = embed(reader, reader.queries, setting.pairs.split.queries, cache, setting.task)
    everything = np.arange(len(setting.data.passages))
    passages, second = embed(reader, reader.passages, everything, cache, setting.task)
    device, memory = str(reader.encoder.device), setting.config.memory_mb
    return Dense(queries.matrix, passages.matrix, device, first + second, memory)


def _search(miner: Miner, depth: int, setting: Setting, path: Path) -> Pool:
    return mine(miner, setting.pairs.split, depth, setting.config.memory_mb, path, setting.task)
