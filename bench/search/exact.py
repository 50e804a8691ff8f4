"""Exact search: every score of every query, a block of queries at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from bench.data.dataset import Floats, Ids
from bench.search.index import best_first, check_k, checked

if TYPE_CHECKING:
    from torch import Tensor

BLOCK = 2**26  # scores held at once: 256 MiB, enough queries a block for the product to run at full speed


class ExactIndex:
    """All inner products with ``vectors`` ``[P, d]`` in float32, on the CPU or a CUDA ``device``.

    A search needs memory for the vectors on the device and ``4 * max(BLOCK, P)`` bytes of scores, some
    three times as much where many scores are equal.
    """

    def __init__(self, vectors: Floats, device: str = "cpu") -> None:
        import torch

        self._vectors = torch.from_numpy(checked(vectors, "passage")).to(device)

    def search(self, queries: Floats, k: int) -> tuple[Floats, Ids]:
        """See :class:`bench.search.Index`."""
        import torch

        size, device = len(self._vectors), self._vectors.device
        check_k(k, size)
        asked = torch.from_numpy(checked(queries, "query")).to(device)
        scores = np.empty((len(queries), k), dtype=np.float32)
        ids = np.empty((len(queries), k), dtype=np.int64)
        rows = max(1, min(BLOCK // size, len(queries)))
        buffer = torch.empty((rows, size), device=device)
        with full_precision():
            for start in range(0, len(queries), rows):
                block = asked[start : start + rows]
                products = torch.mm(block, self._vectors.T, out=buffer[: len(block)])
                columns = top(products, k)
                scores[start : start + rows] = products.gather(1, columns).cpu().numpy()
                ids[start : start + rows] = columns.cpu().numpy()
        return best_first(scores, ids)


def top(scores: Tensor, k: int) -> Tensor:
    """[q, k] columns of the ``k`` highest of ``scores`` ``[q, P]``, in any order; of equals, the first.

    Where the last score taken equals the first one left out, ``topk`` alone would choose between them by
    chance of its implementation.
    """
    import torch

    values, columns = scores.topk(min(k + 1, scores.shape[1]), dim=1)
    last, columns = values[:, k - 1 : k], columns[:, :k]
    tied = (values[:, k:] == last).any(dim=1)
    if tied.any():
        rows, last = scores[tied], last[tied]
        above, equal = rows > last, rows == last
        room = k - above.sum(dim=1, keepdim=True)
        keep = above | (equal & (equal.cumsum(dim=1, dtype=torch.int32) <= room))
        columns[tied] = keep.nonzero()[:, 1].view(-1, k)
    return columns


@contextmanager
def full_precision() -> Iterator[None]:
    """Products in float32 proper: training may have allowed TF32, which would reorder near-equal scores."""
    import torch

    allowed = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(allowed)
