"""The learning rate over a training's steps, and which weights decay."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys import MNR, Training, plainly

from bench.train.optimizer import adamw, lr_at


@plainly
@given(st.integers(1, 60), st.one_of(st.floats(0, 0.99), st.integers(1, 80)))
def test_the_rate_rises_to_its_peak_and_falls_but_never_to_zero(total: int, warmup: float) -> None:
    warm = math.floor(warmup * total) if warmup < 1 else int(warmup)
    rates = [lr_at(step, total, 2.0, warmup) for step in range(total)]
    for step, rate in enumerate(rates):
        wanted = (step + 1) / (warm + 1) if step < warm else (total - step) / (total - warm)
        assert rate == pytest.approx(2.0 * wanted)
        assert 0 < rate <= 2.0
    if warm < total:
        assert rates[warm] == 2.0
        assert rates == [*sorted(rates[:warm]), *sorted(rates[warm:], reverse=True)]


@plainly
@given(st.integers(1, 60), st.integers(0, 80))
def test_a_constant_rate_rises_as_the_linear_one_and_stays(total: int, warmup: int) -> None:
    rates = [lr_at(step, total, 2.0, warmup, "constant") for step in range(total + 5)]
    assert rates[:warmup] == [2.0 * (step + 1) / (warmup + 1) for step in range(min(warmup, total + 5))]
    assert all(rate == 2.0 for rate in rates[warmup:])


def test_matrices_decay_and_vectors_do_not() -> None:
    encoder = Training(MNR).encoder
    optimizer = adamw(encoder.parameters(), 0.1, 0.3)
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert len(decay) == sum(1 for _ in encoder.parameters())
    for name, parameter in encoder.named_parameters():
        vector = name.endswith("bias") or "LayerNorm" in name
        assert decay[id(parameter)] == (0.0 if vector else 0.3), name


def test_beyond_the_end_the_rate_is_zero() -> None:
    assert lr_at(90_000, 50_000, 1e-3, 0.1) == 0
