"""Mining: for every query the passages that score highest and are not labelled relevant, exactly.

Scores come a block of queries at a time, as many as memory allows, and what is found goes to a file a block at
a time, so memory does not grow with the number of queries.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.data.dataset import Floats, Ids, Split
from bench.disk import refusals
from bench.negatives.setting import Cost, Task, unwatched
from bench.search.exact import full_precision, top
from bench.search.index import best_first

ENTRY = np.dtype([("passage", "<i4"), ("score", "<f4")])
HELD = 4  # blocks of scores that are in memory at the worst moment: the scores, and what sorting needs


class Miner(Protocol):
    """Who scores every passage for a query."""

    size: int  # passages
    device: torch.device
    cost: Cost  # of becoming able to score

    def scores(self, rows: Ids, out: Tensor) -> Tensor:
        """Write the scores of the queries at ``rows`` of the split, [len(rows), size], into ``out``."""


@dataclass(frozen=True)
class Pool:
    """What was mined: ``entries`` [Q, depth] with ``passage`` and ``score``, best first, one row a query.

    ``positives`` holds the score of every labelled passage, parallel to the split's ``relevant.values``.
    """

    entries: NDArray[np.void]
    positives: Floats
    cost: Cost


def mine(
    miner: Miner,
    split: Split,
    depth: int,
    memory_mb: int,
    path: Path,
    task: Task = unwatched,
) -> Pool:
    """Search all queries of ``split`` and write the pool to ``path``, with ``path``.json as the sign that it is whole.

    ``depth`` passages are kept of each query, labelled ones left out; it is at most the number of passages
    less the labelled ones of any query. Raises :class:`UserError` when the disk refuses.
    """
    start = perf_counter()
    rows = max(1, min(len(split), memory_mb * 2**20 // (4 * miner.size * HELD)))
    buffer = torch.empty((rows, miner.size), device=miner.device)
    positives = np.empty(len(split.relevant.values), dtype=np.float32)
    with refusals(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with refusals(path), path.open("wb") as file, full_precision(), task("mining", len(split)) as advance:
        for begin in range(0, len(split), rows):
            block = np.arange(begin, min(begin + rows, len(split)))
            scores = miner.scores(block, buffer[: len(block)])
            labelled = split.relevant.take(block)
            row = torch.from_numpy(np.repeat(np.arange(len(block)), labelled.lengths)).to(miner.device)
            column = torch.from_numpy(labelled.values).to(miner.device)
            first, end = split.relevant.offsets[begin], split.relevant.offsets[begin + len(block)]
            positives[first:end] = scores[row, column].cpu().numpy()
            scores[row, column] = -torch.inf
            file.write(_entries(scores, depth).tobytes())
            advance(len(block))
    cost = Cost(perf_counter() - start) + miner.cost
    with refusals(path):
        np.save(path.with_suffix(".npy"), positives)
        path.with_suffix(".json").write_text(json.dumps(asdict(cost)))
    return read(path, len(split), depth)


def _entries(scores: Tensor, depth: int) -> NDArray[np.void]:
    columns = top(scores, depth)
    found = np.empty(tuple(columns.shape), dtype=ENTRY)
    found["score"], found["passage"] = best_first(scores.gather(1, columns).cpu().numpy(), columns.cpu().numpy())
    return found


def read(path: Path, queries: int, depth: int) -> Pool:
    """A pool that :func:`mine` wrote, mapped into memory. Raises ``OSError`` or ``ValueError`` when it is not whole."""
    cost = Cost(**json.loads(path.with_suffix(".json").read_text()))
    if path.stat().st_size != queries * depth * ENTRY.itemsize:
        raise ValueError(f"{path} has another size than {queries} queries of {depth} passages")
    entries = np.memmap(path, ENTRY, "r", shape=(queries, depth))
    return Pool(entries, np.load(path.with_suffix(".npy")), cost)


def remove(path: Path) -> None:
    """Delete a pool, its sign first."""
    for suffix in (".json", ".npy", path.suffix):
        path.with_suffix(suffix).unlink(missing_ok=True)
