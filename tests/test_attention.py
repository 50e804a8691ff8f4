"""Packed attention against plain softmax attention, text by text in float64."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bench.model.cpu import attention
from bench.model.cpu.attention import Group, PackedAttention, plan
from bench.model.cpu.dropout import ByteDropout, keep_mask
from bench.model.packing import Packed

HEADS, SIZE = 3, 5
LENGTHS = st.one_of(
    st.lists(st.integers(1, 20), min_size=1, max_size=2 * attention.TEXTS + 3),
    st.tuples(st.integers(1, 20), st.integers(1, 2 * attention.TEXTS)).map(lambda n: [n[0]] * n[1]),
)


def packed(lengths: Sequence[int]) -> Packed:
    ordered = np.sort(np.asarray(lengths, dtype=np.int64))
    return Packed(torch.zeros(int(ordered.sum()), dtype=torch.long), ordered, torch.arange(len(ordered)))


def rows(lengths: Sequence[int], seed: int = 0, spare: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """q, k, v and a gradient of the result, [(tokens + spare) * heads, size], float64."""
    generator = torch.Generator().manual_seed(seed)
    shape = ((sum(lengths) + spare) * HEADS, SIZE)
    q, k, v, gradient = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(4))
    return q.requires_grad_(), k.requires_grad_(), v.requires_grad_(), gradient


def plain(q: Tensor, k: Tensor, v: Tensor, lengths: Sequence[int], scale: float) -> Tensor:
    """softmax(q k^T scale) v for one text and one head at a time."""
    out, begin = torch.zeros_like(q), 0
    for length in sorted(lengths):
        for head in range(HEADS):
            at = [(begin + token) * HEADS + head for token in range(length)]
            out = out.index_copy(0, torch.tensor(at), torch.softmax(q[at] @ k[at].T * scale, -1) @ v[at])
        begin += length
    return out


def apply(q: Tensor, k: Tensor, v: Tensor, groups: list[Group], scale: float, drop: float = 0.0) -> Tensor:
    out: Tensor = PackedAttention.apply(q, k, v, groups, scale, drop)
    return out


def gradients(out: Tensor, inputs: Sequence[Tensor], gradient: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(out, inputs, gradient)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(LENGTHS, st.integers(0, 2**20))
def test_it_is_softmax_attention_within_each_text(lengths: list[int], seed: int) -> None:
    *inputs, gradient = rows(lengths, seed)
    out = apply(*inputs, plan(packed(lengths), HEADS), 0.7)
    expected = plain(*inputs, lengths, 0.7)
    torch.testing.assert_close(out, expected)
    for got, wanted in zip(gradients(out, inputs, gradient), gradients(expected, inputs, gradient), strict=True):
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_rows_of_no_text_stay_zero_and_get_no_gradient(dropout: float) -> None:
    lengths, spare = [1, 4, 9], 6
    *inputs, gradient = rows(lengths, spare=spare)
    out = apply(*inputs, plan(packed(lengths), HEADS), 1.0, dropout)
    outside = slice(sum(lengths) * HEADS, None)
    assert not out[outside].any()
    for got in gradients(out, inputs, gradient):
        assert not got[outside].any()
        assert got[: outside.start].any()


def replayed(q: Tensor, k: Tensor, v: Tensor, groups: list[Group], scale: float, drop: float) -> Tensor:
    """The same dropout by autograd alone: masks drawn again in the same order, padding left out by -inf."""
    outs = []
    for group in groups:
        qg, kg, vg = (x[group.gather].view(-1, group.length, SIZE) for x in (q, k, v))
        scores = qg @ kg.transpose(1, 2) * scale
        if group.real is not None:
            scores = scores.masked_fill(~group.real[:, None, :], -torch.inf)
        kept = torch.softmax(scores, -1) * keep_mask(scores.shape, drop, scores.dtype)
        outs.append((kept @ vg).reshape(-1, SIZE)[group.scatter])
    return torch.cat(outs)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(LENGTHS, st.floats(0.05, 0.9))
def test_backward_drops_what_forward_dropped(lengths: list[int], drop: float) -> None:
    *inputs, gradient = rows(lengths)
    groups = plan(packed(lengths), HEADS)
    results = []
    for function in (apply, replayed):
        torch.manual_seed(7)
        out = function(*inputs, groups, 0.7, drop)
        results.append((out, *gradients(out, inputs, gradient)))
    for got, wanted in zip(*results, strict=True):
        torch.testing.assert_close(got, wanted)


def test_gradients_with_dropout_are_finite_differences() -> None:
    lengths = [1, 3, 3, 6]
    q, k, v, _ = rows(lengths)
    groups = plan(packed(lengths), HEADS)

    def seeded(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        torch.manual_seed(3)
        return apply(q, k, v, groups, 0.7, 0.4)

    assert torch.autograd.gradcheck(seeded, (q, k, v), fast_mode=True)


def test_dropout_keeps_the_mean() -> None:
    lengths, draws = [2, 5], 3000
    q, k, v, _ = (x.detach() for x in rows(lengths))
    groups = plan(packed(lengths), HEADS)
    torch.manual_seed(0)
    samples = torch.stack([apply(q, k, v, groups, 0.7, 0.3) for _ in range(draws)])
    error = samples.std(0) / draws**0.5
    assert ((samples.mean(0) - plain(q, k, v, lengths, 0.7)).abs() < 5 * error).all()


@pytest.mark.parametrize("p", [0.01, 0.1, 0.3, 0.5, 0.9])
def test_a_mask_drops_its_share_and_keeps_the_mean(p: float) -> None:
    torch.manual_seed(0)
    mask = keep_mask((1000, 401), p, torch.float64)
    dropped = round(p * 256) / 256
    count = mask.numel()
    share = float((mask == 0).double().mean())
    assert abs(share - dropped) < 5 * (dropped * (1 - dropped) / count) ** 0.5
    assert abs(dropped - p) <= 1 / 512
    kept = mask[mask != 0].unique()
    torch.testing.assert_close(kept, torch.tensor([1 / (1 - dropped)], dtype=torch.float64))


def test_a_mask_follows_from_torchs_seed_alone() -> None:
    def draw(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return keep_mask((7, 33), 0.3, torch.float32)

    first = draw(1)
    np.random.seed(5)
    assert torch.equal(first, draw(1))
    assert not torch.equal(first, draw(2))
    assert not torch.equal(draw(1), keep_mask((7, 33), 0.3, torch.float32)), "the next mask is another one"


def test_neither_place_nor_size_of_a_mask_correlates() -> None:
    torch.manual_seed(0)
    masks = torch.stack([keep_mask((4096,), 0.5, torch.float64).ne(0) for _ in range(64)]).double()
    between = torch.corrcoef(masks).fill_diagonal_(0).abs().max()
    neighbours = torch.corrcoef(torch.stack([masks[:, 1:].ravel(), masks[:, :-1].ravel()]))[0, 1].abs()
    assert between < 5 / 4096**0.5 and neighbours < 5 / masks.numel() ** 0.5


def test_byte_dropout_is_dropout_in_training_and_nothing_else() -> None:
    layer = ByteDropout(0.25)
    x = torch.randn(64, 65, dtype=torch.float64, requires_grad=True)
    out = layer(x)
    (mask,) = torch.autograd.grad(out.sum(), x)
    torch.testing.assert_close(out, x * mask)
    torch.testing.assert_close(mask.unique(), torch.tensor([0, 4 / 3], dtype=torch.float64))
    assert layer.eval()(x) is x
    assert ByteDropout(0.0)(x) is x


def test_attention_does_not_read_what_it_was_not_planned_for() -> None:
    x = torch.zeros(1, HEADS, 4, SIZE)
    with pytest.raises(RuntimeError, match="without its plan"):
        attention.packed_attention(torch.nn.Module(), x, x, x, None)
