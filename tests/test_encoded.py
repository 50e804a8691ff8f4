"""What an encoder gives beside unit vectors: vectors before they are normalised, and token states where asked."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from toys import DATA, toy_encoder

from bench.data.tokens import tokenize
from bench.errors import UserError
from bench.model.embedding import encode, on_disk
from bench.model.encoder import Encoder
from bench.model.packing import Packed, pack


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return toy_encoder(DATA, dropout=0.0).eval()


@pytest.fixture(scope="module")
def packed(encoder: Encoder) -> Packed:
    tokens = tokenize(DATA.passages, encoder.tokenizer, 16)
    return pack([(tokens, np.array([5, 0, 17, 3]))])


def test_unit_vectors_are_the_raw_ones_normalised(encoder: Encoder, packed: Packed) -> None:
    found = encoder(packed)
    assert found.tokens is None
    torch.testing.assert_close(found.unit, F.normalize(found.raw, dim=-1))
    assert not torch.allclose(found.raw.norm(dim=1), torch.ones(4)), "the raw ones have lengths of their own"


def test_token_states_are_those_that_are_pooled_in_the_order_of_the_packed_ids(
    encoder: Encoder, packed: Packed
) -> None:
    found = encoder(packed, tokens=True)
    assert found.tokens is not None and found.tokens.shape == (len(packed.ids), encoder.dim)
    means = torch.stack([part.mean(0) for part in found.tokens.split(packed.lengths.tolist())])
    torch.testing.assert_close(means[packed.restore], found.raw, rtol=1e-5, atol=1e-6)


def test_every_layout_gives_the_same(encoder: Encoder, packed: Packed) -> None:
    assert encoder.packs
    laid = encoder(packed, tokens=True)
    other = toy_encoder(DATA, dropout=0.0).eval()
    other.transformer.set_attn_implementation("sdpa")
    other.packs = False
    padded = other(packed, tokens=True)
    for name in ("unit", "raw", "tokens"):
        torch.testing.assert_close(getattr(laid, name), getattr(padded, name), rtol=1e-4, atol=1e-5)


def test_a_full_disk_is_told_before_vectors_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a page of a mapped file finds no room, the kernel ends the process."""

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(UserError, match="full"):
        on_disk(10, 4, tmp_path)


def test_vectors_go_where_they_are_wanted_and_equal_texts_are_encoded_once(encoder: Encoder, tmp_path: Path) -> None:
    tokens = tokenize([DATA.passages[row] for row in (3, 1, 3, 2, 1, 3)], encoder.tokenizer, 16)
    rows, told = np.array([2, 4, 0, 3, 1, 5]), list[int]()
    usual = encode(encoder, tokens, "fp32", rows, told.append)
    out = on_disk(len(rows), encoder.dim, tmp_path)
    assert encode(encoder, tokens, "fp32", rows, out=out) is out
    np.testing.assert_array_equal(out, usual)
    single = [encode(encoder, tokens, "fp32", rows[place : place + 1])[0] for place in range(len(rows))]
    np.testing.assert_allclose(out, single, atol=1e-6)
    assert sum(told) == len(rows)
    assert not list(tmp_path.iterdir()), "a kill leaves nothing behind"
