"""Embeddings of many texts: encoded without gradients in chunks of equal work, and cached."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from threading import Lock
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch import nn

from bench import cores
from bench.atomic import explain_write_errors
from bench.cache import Cache
from bench.data.dataset import Floats, Ids
from bench.data.tokens import Tokens
from bench.model.cpu.workers import share_out
from bench.model.encoder import Encoder
from bench.model.packing import pack
from bench.model.precision import autocast
from bench.model.prepared import Prepared
from bench.progress import Task, unwatched
from bench.together import made_together
from bench.world import World

REVISION = 2  # of what is kept
COPIED = 4096  # vectors that are copied at once
TOKENS_AT_ONCE = {"cpu": 1 << 11, "cuda": 1 << 17}


@torch.no_grad()
def encode(
    encoder: Encoder,
    tokens: Tokens,
    precision: str,
    rows: Ids | None = None,
    progress: Callable[[int], None] | None = None,
    raw: bool = False,
    world: World | None = None,
    out: Floats | None = None,
) -> Floats:
    """[n, d] unit vectors of the texts ``rows`` of ``tokens`` (all, by default), in that order; ``raw``: before
    normalisation.

    On a CPU the chunks are shared out among threads. Texts of equal tokens are encoded once, so their vectors are equal
    to the last bit. Dropout is off during encoding and restored afterwards. ``progress`` gets the number of texts of
    each chunk, from one thread at a time. Each rank of ``world``, all of which call this, encodes a share of the chunks
    and gets the vectors of all; the chunks are those of one rank alone. ``out`` [n, d] is filled and returned where it
    is given, such as one :func:`on_disk`.
    """
    asked = np.arange(len(tokens.lengths)) if rows is None else rows
    rows, place = tokens.distinct(asked)
    _, first, times = np.unique(place, return_index=True, return_counts=True)
    vectors = np.empty((len(asked), encoder.dim), dtype=np.float32) if out is None else out
    budget = TOKENS_AT_ONCE.get(encoder.device.type, TOKENS_AT_ONCE["cuda"])
    chunks, world = list(tokens.batches(rows, budget)), world or World()
    mine = [chunks[number] for number in world.share(np.arange(len(chunks)))]
    alone = Lock()

    def fill(chunk: Ids) -> None:
        encoded = encoder(pack([(tokens, rows[chunk])]))
        vectors[first[chunk]] = (encoded.raw if raw else encoded.unit).cpu().numpy()
        if progress is not None:
            with alone:
                progress(int(times[chunk].sum()))

    training = encoder.training
    encoder.eval()
    try:
        workers = cores.count() if encoder.packs and encoder.device.type == "cpu" else 1
        share_out(fill, mine, workers, lambda: autocast(precision, encoder.device))
    finally:
        encoder.train(training)
    if world.size > 1:
        _gather(vectors, [first[chunk] for chunk in chunks], [first[chunk] for chunk in mine], world)
        if progress is not None:
            progress(int(times.sum() - sum(times[chunk].sum() for chunk in mine)))
    equal = np.setdiff1d(np.arange(len(asked)), first)
    for some in np.array_split(equal, 1 + len(equal) // COPIED):
        vectors[some] = vectors[first[place[some]]]
    return vectors


def on_disk(count: int, dim: int, directory: Path) -> Floats:
    """Room for ``count`` vectors of ``dim`` values in a file in ``directory`` that is mapped into memory.

    The file has no name where the platform can, and is gone when the array is, or the process. The kernel writes its
    pages out when memory is short. Raises :class:`UserError` when the disk refuses it.
    """
    if not count:
        return np.zeros((0, dim), dtype=np.float32)
    with explain_write_errors(directory), TemporaryFile(dir=directory) as file:
        _reserve(file.fileno(), 4 * count * dim)
        return np.memmap(file, dtype=np.float32, shape=(count, dim))


def _reserve(file: int, size: int) -> None:
    """Take the room on the disk now: a page of a mapped file that finds none later would end the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)


def _gather(vectors: Floats, chunks: Sequence[Ids], mine: Sequence[Ids], world: World) -> None:
    """Write the vectors of the chunks that other ranks encoded into ``vectors`` [n, d], which has those of ``mine``."""
    if chunks:
        own = np.concatenate([np.zeros(0, dtype=np.int64), *mine])
        vectors[np.concatenate(chunks)] = torch.cat(world.gather(torch.from_numpy(vectors[own]))).numpy()


@dataclass(frozen=True)
class Cost:
    """Cost outside training steps: seconds, and texts encoded."""

    seconds: float = 0.0
    texts: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.seconds + other.seconds, self.texts + other.texts)


@dataclass(frozen=True)
class Vectors:
    """Vectors ``matrix`` [n, d] of the texts ``rows`` [n], which are in rising order."""

    rows: Ids
    matrix: Floats

    def take(self, ids: Ids) -> Floats:
        """[len(ids), d] vectors of texts that are among the rows."""
        if np.array_equal(ids, self.rows):
            return self.matrix
        return np.asarray(self.matrix[np.searchsorted(self.rows, ids)])


def embed(
    prepared: Prepared,
    tokens: Tokens,
    rows: Ids,
    cache: Cache,
    task: Task = unwatched,
    name: str = "embedding",
    raw: bool = False,
    world: World | None = None,
) -> tuple[Vectors, Cost]:
    """The unit vectors of ``rows`` of ``tokens`` by an encoder that is not trained, and their cost.

    With ``raw`` they are those before normalisation. They are cached under a hash of the weights, the pooling, the
    precision and the tokens. The cost of cached vectors is that of making them. The ranks of ``world``, all of
    which call this, share the work.
    """

    world = world or World()

    def make(place: Path) -> dict[str, float]:
        start = perf_counter()
        with task(name, len(rows)) as advance:
            out = _file_of(place / "matrix.npy", len(rows), prepared.encoder.dim) if world.first else None
            encode(prepared.encoder, tokens, prepared.precision, rows, advance, raw, world, out)
            if out is not None:
                out.flush()
        return {"seconds": perf_counter() - start, "texts": len(rows)}

    key = f"{'raw-' if raw else ''}vectors-{_key(prepared, tokens, rows)}"
    found = made_together(cache, key, make, world)
    return Vectors(rows, found.array("matrix")), Cost(**found.facts)


def _file_of(path: Path, count: int, dim: int) -> np.memmap[Any, np.dtype[np.float32]]:
    """An array of ``count`` vectors in the new file ``path``."""
    found = open_memmap(path, mode="w+", dtype=np.float32, shape=(count, dim))
    with path.open("r+b") as file:
        _reserve(file.fileno(), path.stat().st_size)
    return found


def _key(prepared: Prepared, tokens: Tokens, rows: Ids) -> str:
    encoder = prepared.encoder
    told = f"{REVISION} {weights_digest(encoder)} {encoder.recipe} {tokens.prompt} {prepared.precision}"
    digest = hashlib.sha256(told.encode())
    digest.update(np.ascontiguousarray(tokens.lengths[rows], dtype="<i8").data)
    digest.update(np.ascontiguousarray(tokens.take(rows), dtype="<i4").data)
    return digest.hexdigest()[:24]


def weights_digest(model: nn.Module) -> str:
    """A short hash of all weights: equal for equal models from any source."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]
