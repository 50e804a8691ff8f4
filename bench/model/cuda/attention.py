"""Attention over packed texts by a kernel for texts of various lengths, as torch has one for GPUs.

``torch.nn.attention.varlen.varlen_attn`` (torch 2.10 and newer) is flash attention over texts that lie end to end. It
needs a CUDA device and bf16 or fp16, and it has no dropout of probabilities. So it serves encoding, and training where
the model's attention has no dropout. Another kernel with the same arguments can take its place: :func:`text_by_text`
is the definition, on any device and in any number format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from bench.model.packing import Packed
from bench.model.precision import current_dtype

NAME = "negbench_varlen"
DTYPES = (torch.bfloat16, torch.float16, torch.float32)
PROBE = (1, 7, 40, 130)  # tokens of the texts that a kernel is tried on
TOLERANCE = 0.03  # of the largest value, in 16 bits

Kernel = Callable[..., Tensor]
"""``kernel(q, k, v, bounds, bounds, longest, longest, scale=s)``: [T, heads, head size] in and out.

``bounds`` [n + 1] int32 are the first tokens of the n texts, and T. The arguments are those of ``varlen_attn``.
"""


def torch_kernel(device: torch.device) -> Kernel | None:
    """torch's kernel; None where it has none: on a CPU, and before torch 2.10."""
    if device.type != "cuda":
        return None
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    return cast(Kernel, varlen_attn)


def text_by_text(
    q: Tensor, k: Tensor, v: Tensor, bounds: Tensor, _: Tensor, longest: int, __: int, scale: float | None = None
) -> Tensor:
    """``softmax(q k^T * scale) v`` of one text after the other: the reference that kernels are compared with."""
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    sizes = bounds.diff().tolist()
    split = (torch.split(x.transpose(0, 1), sizes, dim=1) for x in (q, k, v))  # into [heads, L, head size]
    texts = zip(*split, strict=True)
    out = [torch.softmax(query @ key.transpose(1, 2) * scale, -1) @ value for query, key, value in texts]
    return torch.cat(out, dim=1).transpose(0, 1)


@dataclass(frozen=True)
class Plan:
    """Where the texts of one batch lie, and the kernel for them; see :data:`Kernel`."""

    kernel: Kernel
    bounds: Tensor
    longest: int


@dataclass(frozen=True)
class Varlen:
    """A kernel that was tried with a model: the number formats it serves, and whether in training, too.

    ``trains`` is False where the model's attention has dropout, which the kernel lacks.
    """

    kernel: Kernel
    dtypes: frozenset[torch.dtype]
    trains: bool

    def serves(self, device: torch.device, training: bool, targets: bool) -> bool:
        """Whether the kernel can be used under the present autocast, in training or for texts with ``targets``.

        The tokens of texts with targets do not see all of their text, which the kernel cannot express.
        """
        return not targets and (self.trains or not training) and current_dtype(device) in self.dtypes

    def plan(self, packed: Packed, added: int, device: torch.device) -> Plan:
        """The plan of a batch. Its ``added`` last rows, which are no text's, attend to each other."""
        ends = np.cumsum([0, *packed.lengths, *([added] if added else [])])
        bounds = torch.from_numpy(ends.astype(np.int32)).to(device)
        return Plan(self.kernel, bounds, max(int(packed.lengths[-1]), added))


def varlen_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    packing: Plan | None = None,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[Tensor, Tensor | None]:
    """The attention interface of ``transformers``: [1, heads, T, head size] in, [1, T, heads, head size] out.

    Without ``packing`` the batch is padded, and torch's ordinary attention computes it. Raises ``ValueError`` for what
    the kernel cannot do: dropout, a window, fewer heads of keys than of queries.
    """
    if packing is None:
        out: tuple[Tensor, Tensor | None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **others
        )
        return out
    if dropout and module.training:
        raise Dropping("packed attention on a GPU has no dropout")
    if sliding_window is not None:
        raise ValueError("packed attention needs whole texts, but this model uses a sliding window")
    if query.shape != key.shape:
        raise ValueError("packed attention needs as many heads of keys as of queries")
    dtype = current_dtype(query.device)  # positions that are rotated in float32 leave queries in it
    q, k, v = (x[0].transpose(0, 1).to(dtype) for x in (query, key, value))
    kernel, bounds, longest = packing.kernel, packing.bounds, packing.longest
    return kernel(q, k, v, bounds, bounds, longest, longest, scale=scaling)[None], None


class Dropping(ValueError):
    """The model's attention has dropout, which the kernel lacks."""


@contextmanager
def shapes_seen() -> Iterator[tuple[Kernel, set[tuple[int, int]]]]:
    """The reference kernel, and the shapes (heads, head size) that it gets from a model in the block."""
    shapes: set[tuple[int, int]] = set()

    def kernel(q: Tensor, *rest: Any, **named: Any) -> Tensor:
        shapes.add((q.shape[1], q.shape[2]))
        return text_by_text(q, *rest, **named)

    yield kernel, shapes


def agrees(kernel: Kernel, heads: int, size: int, dtype: torch.dtype, device: torch.device) -> bool:
    """Whether ``kernel`` gives the reference's result and gradients for drawn values of ``dtype`` on ``device``.

    The reference computes in float32, of the same values. A kernel that raises does not agree.
    """
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(sum(PROBE), heads, size, generator=generator).to(dtype).to(device) for _ in range(4)]
    bounds = torch.tensor(np.cumsum([0, *PROBE]), dtype=torch.int32, device=device)

    def run(function: Kernel, kind: torch.dtype) -> list[Tensor]:
        inputs = [x.detach().to(kind).requires_grad_() for x in drawn[:3]]
        out = function(*inputs, bounds, bounds, max(PROBE), max(PROBE), scale=size**-0.5)
        gradients = torch.autograd.grad(out, inputs, drawn[3].to(kind))
        return [tensor.detach().float() for tensor in (out, *gradients)]

    try:
        with torch.enable_grad(), torch.autocast(device.type, enabled=False):
            pairs = list(zip(run(kernel, dtype), run(text_by_text, torch.float32), strict=True))
    except torch.OutOfMemoryError:
        raise
    except Exception:
        return False
    return all(torch.allclose(got, exact, rtol=0, atol=TOLERANCE * float(exact.abs().max())) for got, exact in pairs)
