"""Dropout with cheap random numbers: on a CPU, torch's own take longer than the layers they serve."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_own = threading.local()


@contextmanager
def masks_from(seed: int) -> Iterator[None]:
    """Masks that this thread draws within the block follow from ``seed``, as after ``torch.manual_seed(seed)``, and
    torch's own generator is left alone."""
    _own.generator = torch.Generator().manual_seed(seed)
    try:
        yield
    finally:
        _own.generator = None


def keep_mask(shape: Sequence[int], p: float, dtype: torch.dtype) -> Tensor:
    """Factors for dropout: 0 with probability ``p``, rounded to 1/256, else what keeps the mean.

    One random byte decides one element. The bytes come from NumPy's SFC64, seeded with one draw of torch's generator or
    of that of :func:`masks_from`, so a random state alone decides the mask.
    """
    size = prod(shape)
    seed = int(torch.randint(2**62, (), generator=getattr(_own, "generator", None)))
    words = np.random.Generator(np.random.SFC64(seed)).integers(0, 2**64, size=(size + 7) // 8, dtype=np.uint64)
    dropped = min(round(p * 256), 255)
    keep = (words.view(np.uint8)[:size] >= dropped).view(np.uint8)  # NumPy compares bytes 20 times as fast as torch
    return torch.from_numpy(keep).view(tuple(shape)).to(dtype).mul_(256 / (256 - dropped))


class _Drop(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float) -> Tensor:
        keep = keep_mask(x.shape, p, x.dtype)
        ctx.save_for_backward(keep)
        return x * keep

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (keep,) = ctx.saved_tensors
        return grad * keep, None


class ByteDropout(nn.Dropout):
    """``nn.Dropout`` whose mask costs one random byte an element."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        dropped: Tensor = _Drop.apply(x, self.p)  # type: ignore[no-untyped-call]
        return dropped
