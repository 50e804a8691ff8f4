"""Pools: for every query the highest-scoring passages that are not labelled relevant, by exact search.

Queries are searched a block at a time, as many as memory allows, and each block is written to a file at once; memory
does not grow with the number of queries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.lib.format import write_array_header_2_0
from numpy.typing import NDArray

from bench.cache import Cache, Entry
from bench.data.dataset import Floats, Ids, Ragged, Split
from bench.model.embedding import Cost
from bench.progress import Task, unwatched
from bench.together import made_together
from bench.world import World

Number = TypeVar("Number", bound=np.generic)
ENTRY = np.dtype([("passage", "<i4"), ("score", "<f4")])
A_QUERY = 64  # bytes that each passage found for a query needs while its block is in memory


class Searcher(Protocol):
    """Searches the passages for queries."""

    cost: Cost  # of becoming able to search

    def search(self, rows: Ids, k: int, labelled: Ragged) -> tuple[Floats, Ids, Floats]:
        """Of the queries at ``rows`` of the split the ``k`` best passages: scores and ids [len(rows), k], best first.

        And the scores of their ``labelled`` passages, parallel to its values.
        """


@dataclass(frozen=True)
class Pool:
    """Mined passages: ``entries`` [Q, depth] with ``passage`` and ``score``, best first, one row a query.

    ``positives`` holds the score of every labelled passage, parallel to the split's ``relevant.values``.
    """

    entries: NDArray[np.void]
    positives: Floats
    cost: Cost


def build_pool(
    name: str,
    searcher: Callable[[], Searcher],
    split: Split,
    depth: int,
    memory_mb: int,
    cache: Cache,
    task: Task = unwatched,
    world: World | None = None,
) -> Pool:
    """The pool ``name`` of all queries of ``split``, from ``cache``, or searched by the result of ``searcher``.

    ``depth`` passages are kept of each query, labelled ones left out; it is at most the number of passages
    less the labelled ones of any query. Every rank of ``world``, all of which call this, searches a share of each
    block of queries. Raises :class:`UserError` when the disk refuses.
    """

    world = world or World()

    def make(place: Path) -> dict[str, float]:
        ready = searcher()
        start = perf_counter()
        rows = max(1, min(4096, memory_mb * 2**20 // (A_QUERY * depth)))
        positives = np.empty(len(split.relevant.values), dtype=np.float32)
        header = {"descr": ENTRY.descr, "fortran_order": False, "shape": (len(split), depth)}
        with (place / "entries.npy").open("wb") as file, task("mining", len(split)) as advance:
            write_array_header_2_0(file, header)
            for begin in range(0, len(split), rows):
                block = np.arange(begin, min(begin + rows, len(split)))
                mine = block[world.share(block)]
                labelled = split.relevant.take(mine)
                scores, ids, known = ready.search(mine, depth + int(split.relevant.lengths[block].max()), labelled)
                entries = _joined(_entries(scores, ids, labelled, depth).view(np.int64), world)
                known = _joined(known, world)
                positives[split.relevant.offsets[begin] : split.relevant.offsets[begin + len(block)]] = known
                if world.first:
                    file.write(entries.tobytes())
                advance(len(block))
        np.save(place / "positives.npy", positives)
        return asdict(Cost(perf_counter() - start) + ready.cost)

    return read_pool(made_together(cache, name, make, world))


def _joined(mine: NDArray[Number], world: World) -> NDArray[Number]:
    """The rows of all ranks, in order of rank."""
    found: NDArray[Number] = torch.cat(world.gather(torch.from_numpy(mine))).numpy()
    return found


def read_pool(entry: Entry) -> Pool:
    """A pool that :func:`build_pool` made, mapped into memory."""
    return Pool(entry.array("entries"), np.asarray(entry.array("positives")), Cost(**entry.facts))


def _entries(scores: Floats, ids: Ids, labelled: Ragged, depth: int) -> NDArray[np.void]:
    """The first ``depth`` passages of each row that are not labelled."""
    row = np.repeat(np.arange(len(labelled)), labelled.lengths)
    size = 1 + max(int(ids.max(initial=0)), int(labelled.values.max(initial=0)))
    known = np.isin(np.arange(len(ids))[:, None] * size + ids, row * size + labelled.values)
    place = np.argsort(known, axis=1, kind="stable")[:, :depth]
    found = np.empty(place.shape, dtype=ENTRY)
    found["score"], found["passage"] = np.take_along_axis(scores, place, 1), np.take_along_axis(ids, place, 1)
    return found
