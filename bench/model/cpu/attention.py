"""Attention over packed texts on a CPU: small padded groups, plain matrix products, gradients by hand.

The fused attention of torch spends most of a training step in its backward pass at the lengths retrieval
uses; plain bf16 products do not. Texts come sorted by length, so a few groups of nearly equal length need
hardly any padding, and everything outside attention runs on packed tokens with none at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.model.cpu.dropout import keep_mask
from bench.model.packing import Packed

NAME = "negbench_packed"
TEXTS, STEP = 8, 8  # of a group


@dataclass(frozen=True)
class Group:
    """n texts padded to L tokens, for h heads. Rows are (token, head) pairs of the packed batch.

    ``gather`` [n*h*L] picks the rows of each padded (text, head, token) place, ``scatter`` the places that
    hold real tokens in packed order, ``first`` and ``last`` bound the packed rows of the group, and ``real``
    [n*h, L] is False on padding (None where there is none). ``seen`` [n*h, 1 or L, L] says which tokens a token attends
    to (None where it is all).
    """

    gather: Tensor
    scatter: Tensor
    first: int
    last: int
    length: int
    real: Tensor | None
    seen: Tensor | None


def plan(packed: Packed, heads: int) -> list[Group]:
    """Cut a length-sorted batch into groups of ``TEXTS`` texts, padded to a multiple of ``STEP`` tokens.

    This gives few different shapes, which repeat. A new shape is slow: the CPU library compiles a kernel for it, and
    the allocator needs fresh memory.
    """
    count = len(packed.lengths)
    return [_group(packed, begin, min(begin + TEXTS, count), heads) for begin in range(0, count, TEXTS)]


def _group(packed: Packed, begin: int, end: int, heads: int) -> Group:
    lengths, starts = packed.lengths[begin:end], packed.starts[begin:end]
    longest = -(-int(lengths[-1]) // STEP) * STEP
    place = np.arange(longest)
    real = place < lengths[:, None]  # [n, L]
    token = starts[:, None] + np.minimum(place, lengths[:, None] - 1)  # padding repeats the last token
    head = np.arange(heads)
    gather = (token[:, None, :] * heads + head[:, None]).reshape(-1)
    text, position = np.nonzero(real)
    scatter = ((text[:, None] * heads + head) * longest + position[:, None]).reshape(-1)
    mask = None if real.all() else torch.from_numpy(np.repeat(real, heads, axis=0))
    seen = None if mask is None else mask[:, None, :]
    if packed.sources is not None:
        seen = torch.from_numpy(np.repeat(packed.seen(begin, end, longest), heads, axis=0))
    first = int(starts[0]) * heads
    return Group(torch.from_numpy(gather), torch.from_numpy(scatter), first, first + len(scatter), longest, mask, seen)


class PackedAttention(torch.autograd.Function):
    """``softmax(q k^T * scale) v`` within each text, with dropout on the probabilities."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, groups: list[Group], scale: float, drop: float) -> Tensor:
        """``q``, ``k``, ``v`` and the result are [tokens * heads, head size]."""
        out = torch.zeros_like(q)  # rows of no group stay zero
        saved = []
        for group in groups:
            qg, kg, vg = (_padded(x, group) for x in (q, k, v))
            probability = _probability(qg, kg, group, scale)
            keep = keep_mask(probability.shape, drop, probability.dtype) if drop else None
            kept = probability if keep is None else probability * keep
            _unpadded(torch.bmm(kept, vg), group, out)
            saved.append((qg, kg, vg, probability, kept, keep))
        ctx.groups, ctx.scale, ctx.steps = groups, scale, saved
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grad = grad.contiguous()
        dq, dk, dv = (torch.zeros_like(grad) for _ in range(3))
        for group, (qg, kg, vg, probability, kept, keep) in zip(ctx.groups, ctx.steps, strict=True):
            g = _padded(grad, group)
            if group.real is not None:
                g.mul_(group.real[:, :, None])
            _unpadded(torch.bmm(kept.transpose(1, 2), g), group, dv)
            dp = torch.bmm(g, vg.transpose(1, 2))
            if keep is not None:
                dp.mul_(keep)
            ds = torch._softmax_backward_data(dp, probability, -1, probability.dtype).mul_(ctx.scale)
            _unpadded(torch.bmm(ds, kg), group, dq)
            _unpadded(torch.bmm(ds.transpose(1, 2), qg), group, dk)
        return dq, dk, dv, None, None, None


def _probability(query: Tensor, key: Tensor, group: Group, scale: float) -> Tensor:
    """[n*h, L, L] the softmax, computed in float32: in bf16 it takes twice as long where L is no multiple of 32."""
    hidden = query.new_zeros(())
    if group.seen is not None:
        hidden = query.new_zeros(group.seen.shape).masked_fill_(~group.seen, torch.finfo(query.dtype).min)
    room = hidden.expand(len(query), group.length, group.length)
    scores = torch.baddbmm(room, query, key.transpose(1, 2), alpha=scale)
    return torch.softmax(scores.to(torch.promote_types(scores.dtype, torch.float32)), dim=-1).to(query.dtype)


def _padded(rows: Tensor, group: Group) -> Tensor:
    """[n*h, L, head size] of the group's rows."""
    return rows.index_select(0, group.gather).view(-1, group.length, rows.shape[1])


def _unpadded(padded: Tensor, group: Group, out: Tensor) -> None:
    """Write a group's real places into its rows of ``out``."""
    torch.index_select(padded.view(-1, out.shape[1]), 0, group.scatter, out=out[group.first : group.last])


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    packing: list[Group] | None = None,
    sliding_window: int | None = None,
    **unused: Any,
) -> tuple[Tensor, None]:
    """The attention interface of ``transformers``: [1, heads, T, head size] in, [1, T, heads, head size] out."""
    if packing is None:
        raise RuntimeError("packed attention was called without its plan")
    if sliding_window is not None:
        raise ValueError("packed attention needs whole texts, but this model uses a sliding window")
    _, heads, count, size = query.shape
    scale = size**-0.5 if scaling is None else scaling
    rows = (x.transpose(1, 2).reshape(count * heads, size) for x in (query, key, value))
    drop = dropout if module.training else 0.0
    out = PackedAttention.apply(*rows, packing, scale, drop)  # type: ignore[no-untyped-call]
    return out.view(1, count, heads, size), None
