"""Texts packed by a kernel for various lengths, against padded ones: the reference kernel, and torch's on a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor
from toys import CPU, MNR, Training
from transformers import PreTrainedModel

from bench.data.tokens import Tokens
from bench.model.config import EncoderConfig
from bench.model.cuda import attention
from bench.model.cuda.attention import Kernel, agrees, text_by_text, torch_kernel
from bench.model.embedding import encode
from bench.model.encoder import Encoder
from bench.model.packing import pack
from bench.model.precision import autocast
from bench.model.trial import prepare
from strategies import registered

LENGTHS = [7, 1, 30, 2, 7, 7, 12, 1, 25, 3, 9, 30, 18]
SIZES = {
    "vocab_size": 200, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
    "max_position_embeddings": 60,
}  # fmt: skip
KINDS: dict[str, tuple[str, dict[str, object]]] = {
    "bert": ("Bert", SIZES),
    "roberta": ("Roberta", {**SIZES, "pad_token_id": 1}),
    "electra": ("Electra", {**SIZES, "embedding_size": 16}),
}
HALF = (torch.bfloat16, torch.float16)


def model(kind: str = "bert", dropout: float = 0.0, **other: object) -> PreTrainedModel:
    """A random model; weights larger than usual, so that a wrong position or a missed token shows."""
    name, sizes = KINDS[kind]
    config = getattr(transformers, f"{name}Config")(**{**sizes, **other})
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = dropout
    torch.manual_seed(0)
    built = getattr(transformers, f"{name}Model")(config)
    for parameter in built.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.1)
    return built


def tower(transformer: PreTrainedModel, kernel: Kernel | None, device: torch.device = CPU) -> Encoder:
    return prepare(Encoder(deepcopy(transformer), None, EncoderConfig(name="tiny")), device, kernel)


def padded(transformer: PreTrainedModel, device: torch.device = CPU) -> Encoder:
    encoder = tower(transformer, None, device)
    encoder.packs = False
    encoder.transformer.set_attn_implementation("sdpa")
    return encoder


def tokens(lengths: Sequence[int] = LENGTHS) -> Tokens:
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Tokens(np.random.default_rng(0).integers(5, 200, int(offsets[-1]), dtype=np.int32), offsets, 0)


def vectors(encoder: Encoder, texts: Tokens) -> Tensor:
    out: Tensor = encoder(pack([(texts, np.arange(len(texts)))])).unit
    return out


def counting(kernel: Kernel) -> tuple[Kernel, list[torch.dtype]]:
    """The kernel, and the number format of each of its calls."""
    calls: list[torch.dtype] = []

    def counted(q: Tensor, *rest: Any, **named: Any) -> Tensor:
        calls.append(q.dtype)
        return kernel(q, *rest, **named)

    return counted, calls


def only(*dtypes: torch.dtype) -> Kernel:
    """The reference, refusing other number formats as a kernel does."""

    def kernel(q: Tensor, *rest: Any, **named: Any) -> Tensor:
        if q.dtype not in dtypes:
            raise RuntimeError(f"no kernel for {q.dtype}")
        return text_by_text(q, *rest, **named)

    return kernel


def test_the_reference_is_scaled_dot_product_attention_within_each_text() -> None:
    q, k, v = (torch.randn(10, 3, 8, generator=torch.Generator().manual_seed(n), dtype=torch.float64) for n in range(3))
    bounds = torch.tensor([0, 1, 4, 10], dtype=torch.int32)
    got = text_by_text(q, k, v, bounds, bounds, 6, 6)
    for begin, end in ((0, 1), (1, 4), (4, 10)):
        one = (x[begin:end].transpose(0, 1) for x in (q, k, v))
        wanted = torch.nn.functional.scaled_dot_product_attention(*one).transpose(0, 1)
        torch.testing.assert_close(got[begin:end], wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_packed_states_and_gradients_are_those_of_padded_texts(kind: str) -> None:
    plain, texts = model(kind), tokens()
    kernel, calls = counting(text_by_text)
    packed, other = tower(plain, kernel).train(), padded(plain).train()
    assert packed.packs_now() and not other.packs_now()
    direction = torch.randn(len(texts), packed.dim)
    calls.clear()
    got, wanted = vectors(packed, texts), vectors(other, texts)
    assert len(calls) == 2, "one call a layer"
    torch.testing.assert_close(got, wanted, atol=2e-6, rtol=0)
    for out in (got, wanted):
        (out * direction).sum().backward()
    gradients = {name: p.grad for name, p in other.named_parameters() if p.grad is not None}
    for name, parameter in packed.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(
                parameter.grad, gradients[name], atol=2e-5, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}"
            )


def test_rows_of_no_text_are_finite_and_change_nothing() -> None:
    """A batch is filled up to 128 tokens: the rows added are a text of their own, so that no kernel leaves them out."""
    encoder, texts = tower(model(), text_by_text).train(), tokens([50, 5])
    alone = vectors(encoder, tokens([50, 5])).detach()
    packed = pack([(texts, np.arange(2))])
    assert encoder.varlen is not None
    plan = encoder.varlen.plan(packed, 73, CPU)
    assert plan.bounds.tolist() == [0, 5, 55, 128] and plan.longest == 73
    assert encoder.varlen.plan(packed, 0, CPU).bounds.tolist() == [0, 5, 55]
    assert encoder.varlen.plan(packed, 9, CPU).longest == 50
    torch.testing.assert_close(alone, vectors(padded(model()).train(), texts), atol=2e-6, rtol=0)


def test_padded_texts_keep_the_ordinary_attention() -> None:
    """The model's attention is that of both layouts: without a plan it pads, with a mask."""
    plain, texts = model(), tokens()
    encoder = tower(plain, text_by_text).eval()
    encoder.packs = False
    with torch.no_grad():
        torch.testing.assert_close(vectors(encoder, texts), vectors(padded(plain).eval(), texts), atol=1e-6, rtol=0)


def test_a_kernel_serves_its_number_formats_alone() -> None:
    kernel, calls = counting(only(*HALF))
    encoder, texts = tower(model(), kernel), tokens()
    assert encoder.varlen is not None and encoder.varlen.dtypes == frozenset(HALF)
    exact = encode(padded(model()), texts, "fp32")
    for precision, expected in (("fp32", []), ("bf16", [torch.bfloat16] * 2), ("fp16", [torch.float16] * 2)):
        calls.clear()
        got = encode(encoder, texts, precision)
        assert calls == expected, precision
        assert (got * exact).sum(1).min() > 0.995


def test_a_model_with_dropout_of_attention_is_padded_in_training_and_packed_otherwise() -> None:
    kernel, calls = counting(text_by_text)
    encoder, texts = tower(model(dropout=0.1), kernel), tokens()
    assert encoder.varlen is not None and not encoder.varlen.trains
    calls.clear()
    vectors(encoder.train(), texts)
    assert not encoder.packs_now() and not calls
    vectors(encoder.eval(), texts)
    assert encoder.packs_now() and len(calls) == 2
    without = tower(model(), text_by_text).varlen
    assert without is not None and without.trains


def test_texts_with_targets_are_padded() -> None:
    encoder = tower(model(), text_by_text)
    assert encoder.packs_now() and not encoder.packs_now(targets=True)


def wrong(change: str) -> Kernel:
    def kernel(q: Tensor, k: Tensor, v: Tensor, bounds: Tensor, *rest: Any, scale: float | None = None) -> Tensor:
        if change == "across texts":
            bounds = bounds[[0, -1]]
        if change == "another scale":
            scale = 1.0
        out = text_by_text(q, k, v, bounds, *rest, scale=scale)
        if change == "no gradient":
            return out.detach()
        if change == "wrong gradient":
            return out + (v - v.detach())
        if change == "not finite":
            return out / 0
        raise_if(change == "raises")
        return out

    return kernel


def raise_if(wanted: bool) -> None:
    if wanted:
        raise NotImplementedError("not on this device")


@pytest.mark.parametrize(
    "change", ["across texts", "another scale", "no gradient", "wrong gradient", "not finite", "raises"]
)
def test_a_kernel_that_is_wrong_is_not_used(change: str) -> None:
    for dtype in attention.DTYPES:
        assert agrees(text_by_text, 4, 8, dtype, CPU)
        assert not agrees(wrong(change), 4, 8, dtype, CPU)
    encoder = tower(model(), wrong(change))
    assert not encoder.packs and encoder.varlen is None
    assert encoder.transformer.config._attn_implementation == "sdpa"
    torch.testing.assert_close(vectors(encoder.eval(), tokens()), vectors(padded(model()).eval(), tokens()))


@pytest.mark.parametrize(
    ("kind", "other"),
    [
        ("MPNet", {}),  # its attention has a bias by relative position
        ("ModernBert", {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}),
    ],
)
def test_the_trial_refuses_models_whose_attention_is_another(kind: str, other: dict[str, object]) -> None:
    config = getattr(transformers, f"{kind}Config")(**SIZES, **other)
    encoder = tower(getattr(transformers, f"{kind}Model")(config), text_by_text)
    assert not encoder.packs and encoder.varlen is None


def test_there_is_no_kernel_of_torch_on_a_cpu() -> None:
    assert torch_kernel(CPU) is None
    assert tower(model(), None).varlen is None


@pytest.mark.parametrize("micro_batch", [None, 5])
def test_a_training_step_is_that_of_padded_texts(micro_batch: int | None) -> None:
    found = []
    for kernel in (text_by_text, None):
        training = Training(MNR, dropout=0.0, micro_batch=micro_batch)
        encoder = training.encoder
        encoder.transformer.set_attn_implementation("sdpa")
        if kernel is None:
            encoder.packs = False
        else:
            assert prepare(encoder, CPU, kernel).varlen is not None
        found.append(training.gradients())
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name], atol=2e-6, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}")


# On a GPU.


@pytest.fixture
def gpu() -> torch.device:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return torch.device("cuda")


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize(("heads", "size"), [(12, 64), (12, 32), (4, 8)])
def test_the_kernel_of_torch_agrees(gpu: torch.device, heads: int, size: int, dtype: torch.dtype) -> None:
    kernel = torch_kernel(gpu)
    assert kernel is not None, "torch 2.10 or newer has it"
    assert agrees(kernel, heads, size, dtype, gpu)
    assert not agrees(kernel, heads, size, torch.float32, gpu), "then float32 could be packed, too"


@pytest.mark.gpu
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_vectors_packed_on_a_gpu_are_those_of_the_cpu(gpu: torch.device, kind: str, precision: str) -> None:
    plain, texts = model(kind), tokens()
    exact = encode(padded(plain), texts, "fp32")
    packed = tower(plain, None, gpu)
    assert packed.packs and packed.varlen is not None and packed.varlen.trains
    np.testing.assert_allclose(encode(packed, texts, "fp32"), exact, atol=1e-4)
    by_kernel, by_padding = encode(packed, texts, precision), encode(padded(plain, gpu), texts, precision)
    assert (by_kernel * exact).sum(1).min() > 0.995
    assert abs(by_kernel - exact).max() <= 2 * abs(by_padding - exact).max() + 1e-3


@pytest.mark.gpu
@pytest.mark.parametrize("micro_batch", [None, 5])
def test_gradients_on_a_gpu_are_those_of_the_cpu(gpu: torch.device, micro_batch: int | None) -> None:
    exact = Training(MNR, dropout=0.0, micro_batch=micro_batch).gradients()
    for precision, least in (("fp32", 0.9999), ("bf16", 0.98)):
        training = Training(MNR, dropout=0.0, micro_batch=micro_batch, precision=precision, device=gpu)
        with autocast(precision, gpu):
            assert training.encoder.packs_now() == (precision == "bf16")
        got = {name: gradient.cpu() for name, gradient in training.gradients().items()}
        mine, theirs = (torch.cat([g[name].flatten() for name in exact]) for g in (got, exact))
        assert torch.nn.functional.cosine_similarity(mine, theirs, dim=0) > least


@pytest.mark.gpu
@pytest.mark.parametrize("strategy", ["mnr", "random_global", "mined_hard"])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_training_on_a_gpu_lowers_the_loss(gpu: torch.device, strategy: str, dropout: float) -> None:
    training = Training(registered()[strategy](), dropout=dropout, precision="bf16", epochs=6, lr=3e-3, device=gpu)
    training.fit()
    losses = [row["loss"] for row in training.events if "loss" in row]
    assert np.isfinite(losses).all() and losses[-1] < losses[0]
