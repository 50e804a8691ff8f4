"""Embeddings of many texts by one encoder, made once and kept for whoever asks again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from bench.data.cache import keep
from bench.data.dataset import Floats, Ids
from bench.data.tokens import Tokens
from bench.model.encode import encode
from bench.model.presets import weights_digest
from bench.negatives.setting import Cost, Reader, Task, unwatched


@dataclass(frozen=True)
class Vectors:
    """Unit vectors ``matrix`` [n, d] of the texts ``rows`` [n], which are in rising order."""

    rows: Ids
    matrix: Floats

    def take(self, ids: Ids) -> Floats:
        """[len(ids), d] vectors of texts that are among the rows."""
        return np.asarray(self.matrix[np.searchsorted(self.rows, ids)])


def embed(
    reader: Reader, tokens: Tokens, rows: Ids, cache: Path | None = None, task: Task = unwatched
) -> tuple[Vectors, Cost]:
    """The vectors of ``rows`` of ``tokens`` and what they cost, whoever had to pay for it.

    With ``cache`` they are kept there under a hash of the weights, of how the encoder pools, of the precision
    and of the tokens, and mapped into memory the next time.
    """
    path = None if cache is None else cache / f"vectors-{_key(reader, tokens, rows)}.npy"
    if path is not None:
        try:
            cost = Cost(**json.loads(path.with_suffix(".json").read_text()))
            matrix = np.load(path, mmap_mode="r")
            if matrix.shape == (len(rows), reader.encoder.dim):
                return Vectors(rows, matrix), cost
        except (OSError, ValueError, TypeError):
            pass  # not there, or not whole: made again
    start = perf_counter()
    with task("embedding for mining", len(rows)) as advance:
        matrix = encode(reader.encoder, tokens, reader.precision, rows, advance)
    cost = Cost(perf_counter() - start, len(rows))
    if path is not None:
        told = json.dumps(asdict(cost)).encode()
        if keep(path, lambda file: np.save(file, matrix)) and keep(
            path.with_suffix(".json"), lambda file: file.write(told)
        ):
            matrix = np.load(path, mmap_mode="r")
    return Vectors(rows, matrix), cost


def _key(reader: Reader, tokens: Tokens, rows: Ids) -> str:
    digest = hashlib.sha256(f"{weights_digest(reader.encoder)} {reader.encoder.pooling} {reader.precision}".encode())
    digest.update(np.ascontiguousarray(tokens.lengths[rows], dtype="<i8").data)
    digest.update(np.ascontiguousarray(tokens.take(rows), dtype="<i4").data)
    return digest.hexdigest()[:24]
