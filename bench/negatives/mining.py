"""Mining: for every query the passages that score highest and are not labelled relevant, exactly.

Queries come a block at a time, as many as memory allows, and so does what is found go to a file; memory does not
grow with the number of queries.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bench.data.dataset import Floats, Ids, Ragged, Split
from bench.disk import refusals
from bench.negatives.setting import Cost, Task, unwatched

ENTRY = np.dtype([("passage", "<i4"), ("score", "<f4")])
A_QUERY = 64  # bytes that each passage found for a query needs while its block is in memory


class Miner(Protocol):
    """Who searches the passages for a query."""

    cost: Cost  # of becoming able to search

    def search(self, rows: Ids, k: int, labelled: Ragged) -> tuple[Floats, Ids, Floats]:
        """Of the queries at ``rows`` of the split the ``k`` best passages: scores and ids [len(rows), k], best first.

        And the scores of their ``labelled`` passages, parallel to its values.
        """


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
    rows = max(1, min(4096, memory_mb * 2**20 // (A_QUERY * depth)))
    positives = np.empty(len(split.relevant.values), dtype=np.float32)
    with refusals(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with refusals(path), path.open("wb") as file, task("mining", len(split)) as advance:
        for begin in range(0, len(split), rows):
            block = np.arange(begin, min(begin + rows, len(split)))
            labelled = split.relevant.take(block)
            scores, ids, known = miner.search(block, depth + int(labelled.lengths.max()), labelled)
            positives[split.relevant.offsets[begin] : split.relevant.offsets[begin + len(block)]] = known
            file.write(_entries(scores, ids, labelled, depth).tobytes())
            advance(len(block))
    cost = Cost(perf_counter() - start) + miner.cost
    with refusals(path):
        np.save(path.with_suffix(".npy"), positives)
        path.with_suffix(".json").write_text(json.dumps(asdict(cost)))
    return read(path, len(split), depth)


def _entries(scores: Floats, ids: Ids, labelled: Ragged, depth: int) -> NDArray[np.void]:
    """The first ``depth`` passages of each row that are not labelled."""
    row = np.repeat(np.arange(len(labelled)), labelled.lengths)
    size = 1 + max(int(ids.max(initial=0)), int(labelled.values.max(initial=0)))
    known = np.isin(np.arange(len(ids))[:, None] * size + ids, row * size + labelled.values)
    place = np.argsort(known, axis=1, kind="stable")[:, :depth]
    found = np.empty(place.shape, dtype=ENTRY)
    found["score"], found["passage"] = np.take_along_axis(scores, place, 1), np.take_along_axis(ids, place, 1)
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
