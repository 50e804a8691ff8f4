"""Replacements of torch modules that are faster on a CPU."""

from __future__ import annotations

import ctypes
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.model.cpu.dropout import ByteDropout

SMALL_TABLE = 1024
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h


class _SmallTable(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, ids: Tensor) -> Tensor:
        ctx.save_for_backward(ids)
        ctx.rows = len(weight)
        return F.embedding(ids, weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (ids,) = ctx.saved_tensors
        ids, grad = ids.reshape(-1), grad.reshape(-1, grad.shape[-1])
        used = int(ids.max()) + 1
        one_hot = torch.zeros(used, len(ids), dtype=grad.dtype)
        one_hot[ids, torch.arange(len(ids))] = 1
        out = torch.zeros(ctx.rows, grad.shape[1], dtype=grad.dtype)
        out[:used] = one_hot @ grad
        return out, None


class SmallEmbedding(nn.Embedding):
    """A table of positions or segments: every token hits few rows, so its gradient is a matrix product."""

    def forward(self, ids: Tensor) -> Tensor:
        looked_up: Tensor = _SmallTable.apply(self.weight, ids)  # type: ignore[no-untyped-call]
        return looked_up


class AutocastLayerNorm(nn.LayerNorm):
    """Returns the autocast type, so that later layers do not stay in float32 like the embeddings."""

    def forward(self, x: Tensor) -> Tensor:
        out = super().forward(x)
        if torch.is_autocast_enabled("cpu"):
            out = out.to(torch.get_autocast_dtype("cpu"))
        return out


def keep_memory() -> None:
    """Make the C library keep freed blocks: returning each large tensor to the kernel costs page faults.

    Only glibc has the setting; elsewhere nothing happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_MMAP_THRESHOLD, 1 << 30)
    mallopt(_TRIM_THRESHOLD, 1 << 30)


def quicken(model: nn.Module) -> None:
    """Replace the model's dropouts, layer norms and small embedding tables by faster classes, in place.

    Parameters, names and saved files stay as they are: only the classes of the modules change.
    """
    for module in model.modules():
        if type(module) is nn.Dropout:
            module.__class__ = ByteDropout
        elif type(module) is nn.LayerNorm:
            module.__class__ = AutocastLayerNorm
        elif type(module) is nn.Embedding and module.num_embeddings <= SMALL_TABLE and module.max_norm is None:
            module.__class__ = SmallEmbedding
