"""The encoder against plain ``transformers`` models, one text at a time, pooled by hand."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from copy import deepcopy
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import transformers
from torch import Tensor, nn
from toys import CPU
from transformers import PreTrainedModel

from bench.data.tokens import Tokens
from bench.errors import UserError
from bench.model.config import PARTS, POOLINGS, WHOLE, EncoderConfig
from bench.model.cpu.dropout import ByteDropout
from bench.model.cpu.modules import SmallEmbedding, quicken
from bench.model.embedding import encode
from bench.model.encoder import Encoder
from bench.model.narrowing import narrowed
from bench.model.packing import pack
from bench.model.trial import prepare
from bench.train.optimizer import adamw

VOCABULARY, HIDDEN, LAYERS = 200, 32, 3
COMMON = {
    "vocab_size": VOCABULARY, "hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": 4,
    "intermediate_size": 48, "max_position_embeddings": 60,
}  # fmt: skip
DISTIL = {
    "vocab_size": VOCABULARY, "dim": HIDDEN, "n_layers": LAYERS, "n_heads": 4, "hidden_dim": 48,
    "max_position_embeddings": 60,
}  # fmt: skip
SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
KINDS: dict[str, tuple[str, dict[str, object]]] = {
    "bert": ("Bert", COMMON),
    "roberta": ("Roberta", {**COMMON, "pad_token_id": 1}),
    "distilbert": ("DistilBert", DISTIL),
    "electra": ("Electra", {**COMMON, "embedding_size": 16}),
    "mpnet": ("MPNet", COMMON),
    "modernbert": ("ModernBert", {**COMMON, **SPECIAL, "local_attention": 40}),
}
WITH_POOLER = {"bert", "roberta", "mpnet"}
POOLED = [(kind, pooling) for kind in KINDS for pooling in WHOLE if "pooler" not in pooling or kind in WITH_POOLER]
POOLED += [*((kind, "mean") for kind in KINDS), *(("bert", pooling) for pooling in PARTS)]
LENGTHS = [7, 1, 30, 2, 7, 7, 12, 1, 25, 3, 9, 30, 18]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def model(kind: str, dropout: float = 0.0) -> PreTrainedModel:
    """A random model; weights larger than usual, so that a wrong position or a missed token shows."""
    name, settings = KINDS[kind]
    config = getattr(transformers, f"{name}Config")(**settings)
    for key in vars(config):
        if key.endswith(("dropout", "dropout_prob")):
            setattr(config, key, dropout)
    torch.manual_seed(0)
    built = getattr(transformers, f"{name}Model")(config)
    for parameter in built.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.1)
    return built


def tower(transformer: PreTrainedModel, packs: bool = True, **config: object) -> Encoder:
    """The encoder of a copy of ``transformer``; without ``packs`` it pads."""
    encoder = prepare(Encoder(deepcopy(transformer), None, EncoderConfig(name="tiny", **config)), CPU)
    if not packs:
        encoder.packs = False
        encoder.transformer.set_attn_implementation("sdpa")
    return encoder


def tokens(lengths: Sequence[int] = LENGTHS, seed: int = 0) -> Tokens:
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = np.random.default_rng(seed).integers(5, VOCABULARY, int(offsets[-1]), dtype=np.int32)
    return Tokens(ids, offsets, 0)


def vectors(encoder: Encoder, texts: Tokens) -> Tensor:
    out: Tensor = encoder(pack([(texts, np.arange(len(texts)))])).unit
    return out


def by_hand(transformer: PreTrainedModel, texts: Tokens, pooling: str) -> Tensor:
    """[n, hidden] each text alone through the plain model, pooled by its definition."""
    rows = []
    for text in range(len(texts)):
        out = transformer(torch.from_numpy(texts[text].astype(np.int64))[None], output_hidden_states=True)
        states = out.hidden_states
        pooled = {
            "cls": lambda out=out: out.last_hidden_state[0, 0],
            "pooler": lambda out=out: out.pooler_output[0],
            "pooler_linear": lambda out=out: out.pooler_output[0].atanh(),
            "mean": lambda out=out: out.last_hidden_state[0].mean(0),
            "first_last_mean": lambda states=states: ((states[1] + states[-1]) / 2)[0].mean(0),
            "max": lambda out=out: out.last_hidden_state[0].amax(0),
            "lasttoken": lambda out=out: out.last_hidden_state[0, -1],
            "mean_sqrt_len_tokens": lambda out=out: out.last_hidden_state[0].sum(0),
            "weightedmean": lambda out=out: sum((n + 1) * row for n, row in enumerate(out.last_hidden_state[0])),
        }[pooling]()
        rows.append(F.normalize(pooled, dim=0))
    return torch.stack(rows)


@pytest.mark.parametrize("packs", [True, False])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_vectors_are_those_of_the_plain_model(kind: str, pooling: str, packs: bool) -> None:
    plain, texts = model(kind).eval(), tokens()
    if "pooler" in pooling and kind not in WITH_POOLER:
        with pytest.raises(UserError, match="has no pooler; use cls, mean or first_last_mean"):
            tower(plain, pooling=pooling)
        return
    with torch.no_grad():
        got = vectors(tower(plain, packs, pooling=pooling).eval(), texts)
        torch.testing.assert_close(got, by_hand(plain, texts, pooling), atol=2e-6, rtol=0)
    torch.testing.assert_close(got.norm(dim=1), torch.ones(len(texts)))


@pytest.mark.parametrize("packs", [True, False])
@pytest.mark.parametrize(("kind", "pooling"), POOLED)
def test_gradients_are_those_of_the_plain_model(kind: str, pooling: str, packs: bool) -> None:
    plain, texts = model(kind).train(), tokens()
    encoder = tower(plain, packs, pooling=pooling).train()
    direction = torch.randn(len(texts), HIDDEN)
    (vectors(encoder, texts) * direction).sum().backward()
    (by_hand(plain, texts, pooling) * direction).sum().backward()
    wanted = {name: p.grad for name, p in plain.named_parameters() if p.grad is not None}
    got = {n.removeprefix("transformer."): p.grad for n, p in encoder.named_parameters() if p.grad is not None}
    assert len(got) > 10 and wanted.keys() == got.keys()
    for name, gradient in got.items():
        torch.testing.assert_close(gradient, wanted[name], atol=2e-5, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}")


def test_what_can_be_packed_is_packed_and_no_more() -> None:
    packed = {kind: tower(model(kind)).packs for kind in KINDS}
    assert packed["bert"] and packed["roberta"] and packed["distilbert"] and packed["electra"]
    assert not packed["mpnet"], "its attention has a bias by relative position"
    assert not packed["modernbert"], "its attention has a window"


def test_a_pooler_without_tanh_is_not_taken_for_one() -> None:
    """ALBERT's pooler is a bare linear layer, its activation stands beside it."""
    config = transformers.AlbertConfig(**COMMON, embedding_size=16)
    with pytest.raises(UserError, match="has no pooler"):
        tower(transformers.AlbertModel(config), pooling="pooler")


def test_vectors_come_in_the_order_of_the_texts() -> None:
    encoder, texts = tower(model("bert")).eval(), tokens()
    order = np.random.default_rng(1).permutation(len(texts))
    with torch.no_grad():
        whole = vectors(encoder, texts)
        shuffled = encoder(pack([(texts, order)])).unit
        two_parts = encoder(pack([(texts, order[:4]), (texts, order[4:])])).unit
        chosen = encoder(pack([(texts, order[:4]), (texts, order[4:])], np.array([9, 2, 5]))).unit
    for got, rows in ((shuffled, order), (two_parts, order), (chosen, order[[9, 2, 5]])):
        torch.testing.assert_close(got, whole[torch.from_numpy(rows)], atol=1e-6, rtol=0)


def test_a_text_does_not_feel_its_neighbours() -> None:
    encoder, texts = tower(model("bert")).eval(), tokens()
    other = Tokens(texts.ids.copy(), texts.offsets, 0)
    other.ids[texts.offsets[1] :] = 17
    with torch.no_grad():
        torch.testing.assert_close(vectors(encoder, texts)[0], vectors(encoder, other)[0])


def test_the_projection_follows_the_pooling_and_drops_in_training_only() -> None:
    plain, texts = model("bert").eval(), tokens()
    encoder = tower(plain, output_dim=24)
    assert encoder.dim == 24 and encoder.projection is not None
    encoder.projection[0].linear.bias.data.normal_()
    encoder.eval()
    states = [plain(torch.from_numpy(texts[t].astype(np.int64))[None]).last_hidden_state for t in range(len(texts))]
    pooled = torch.stack([state[0].mean(0) for state in states])
    projected = pooled @ encoder.projection[0].linear.weight.T + encoder.projection[0].linear.bias
    torch.testing.assert_close(vectors(encoder, texts), F.normalize(projected, dim=1), atol=2e-6, rtol=0)
    dropped = vectors(encoder.train(), texts) == 0
    assert 0.03 < dropped.float().mean() < 0.2, "a tenth of the projected values"
    assert not (vectors(tower(plain).train(), texts) == 0).any(), "no dropout without a projection"


def test_the_projection_starts_from_a_truncated_normal() -> None:
    config = {**COMMON, "hidden_size": 256, "num_hidden_layers": 1}
    encoder = tower(transformers.BertModel(transformers.BertConfig(**config)), output_dim=256)
    assert encoder.projection is not None
    weight = encoder.projection[0].linear.weight.detach()
    assert not encoder.projection[0].linear.bias.any()
    assert weight.abs().max() <= 2 * 0.02
    # A standard normal cut at two standard deviations has the standard deviation 0.8796.
    assert abs(float(weight.std()) / 0.02 - 0.8796) < 0.01


def test_kept_layers_are_those_layers_in_that_order(kind: str, tmp_path: Path) -> None:
    plain, texts = model(kind).eval(), tokens()
    stack = next(m for m in plain.modules() if isinstance(m, nn.ModuleList) and len(m) == LAYERS)
    encoder = tower(plain, layers=(0, 2)).eval()
    del stack[1]
    plain.config.num_hidden_layers = 2
    with torch.no_grad():
        got, wanted = vectors(encoder, texts), by_hand(plain, texts, "mean")
    torch.testing.assert_close(got, wanted, atol=2e-6, rtol=0)
    encoder.transformer.save_pretrained(tmp_path)
    with torch.no_grad():
        again = by_hand(type(plain).from_pretrained(tmp_path).eval(), texts, "mean")
    torch.testing.assert_close(again, wanted, atol=2e-6, rtol=0)


def test_without_layers_a_vector_is_the_mean_of_the_token_embeddings(kind: str, tmp_path: Path) -> None:
    if kind == "modernbert":
        with pytest.raises(UserError, match=r"encoder\.layers=\[\]: a modernbert model cannot be without layers"):
            tower(model(kind), layers=())
        return
    with pytest.raises(UserError, match="first_last_mean, but this model has no layers; use mean"):
        tower(model(kind), layers=(), pooling="first_last_mean")
    encoder, texts = prepare(tower(model(kind), layers=()), torch.device("cpu")).eval(), tokens()
    encoder.transformer.save_pretrained(tmp_path)
    again = type(encoder.transformer).from_pretrained(tmp_path).eval()
    with torch.no_grad():
        got, wanted = vectors(encoder, texts), by_hand(again, texts, "mean")
        alone = again(input_ids=torch.from_numpy(texts.ids[None, :1].astype(np.int64))).last_hidden_state[0, 0]
        first = again(input_ids=torch.from_numpy(texts.ids[None, :2].astype(np.int64))).last_hidden_state[0, 0]
    torch.testing.assert_close(got, wanted, atol=2e-6, rtol=0)
    torch.testing.assert_close(alone, first)


@pytest.mark.parametrize("layers", [(0, 3), (-1,)])
def test_layers_that_are_not_there(layers: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match=r"encoder\.layers=.*layers 0 to 2"):
        tower(model("bert"), layers=layers)


def test_quicken_changes_classes_alone() -> None:
    quick, plain = model("bert", 0.1), model("bert", 0.1)
    quicken(quick)
    assert [name for name, _ in quick.named_parameters()] == [name for name, _ in plain.named_parameters()]
    state = plain.state_dict()
    assert state.keys() == quick.state_dict().keys()
    assert all(torch.equal(value, state[name]) for name, value in quick.state_dict().items())
    kinds = {type(module) for module in quick.modules()}
    assert {ByteDropout, SmallEmbedding} <= kinds and not {nn.Dropout, nn.Embedding} & kinds


def test_small_embedding_is_an_embedding() -> None:
    plain = nn.Embedding(20, 6)
    small = deepcopy(plain)
    quicken(small)
    assert type(small) is SmallEmbedding
    ids = torch.tensor([[3, 3, 7], [0, 19, 3]])
    direction = torch.randn(2, 3, 6)
    for table in (plain, small):
        (table(ids) * direction).sum().backward()
    assert torch.equal(plain(ids), small(ids))
    torch.testing.assert_close(plain.weight.grad, small.weight.grad)


def test_encode_is_forward_without_dropout() -> None:
    encoder = tower(model("bert", dropout=0.3), output_dim=16)
    texts = tokens(np.random.default_rng(0).integers(1, 50, 400).tolist())
    wanted = vectors(encoder.eval(), texts).detach().numpy()
    told: list[int] = []
    for training in (True, False):
        encoder.train(training)
        got = encode(encoder, texts, "fp32", progress=told.append)
        np.testing.assert_allclose(got, wanted, atol=2e-6)
        assert all(module.training is training for module in encoder.modules())
    assert sum(told) == 2 * len(texts) and len(told) > 4, "several chunks, each told"
    rows = np.array([399, 0, 17, 17])
    np.testing.assert_allclose(encode(encoder, texts, "fp32", rows), wanted[rows], atol=2e-6)
    assert encode(encoder, texts, "fp32", np.empty(0, np.int64)).shape == (0, 16)


def test_encode_puts_dropout_back_when_it_is_stopped() -> None:
    encoder = tower(model("bert")).train()

    def stop(count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode(encoder, tokens(), "fp32", progress=stop)
    assert encoder.training


def test_bf16_vectors_are_close(kind: str) -> None:
    encoder = tower(model(kind))
    exact, rough = (encode(encoder, tokens(), precision) for precision in ("fp32", "bf16"))
    assert rough.dtype == np.float32
    assert (exact * rough).sum(1).min() > 0.995
    np.testing.assert_allclose(np.linalg.norm(rough, axis=1), 1, atol=1e-5)


def trained(encoder: Encoder, texts: Tokens, narrow: bool, each: Callable[[int], None] | None = None) -> None:
    """Five AdamW steps with decay and dropout, the word table narrowed or whole."""
    lr, decay = 1e-2, 0.3

    def steps(parameters: list[nn.Parameter], after: Callable[[int], None]) -> None:
        torch.manual_seed(3)
        optimizer = adamw(parameters, lr, decay)
        for step in range(5):
            optimizer.zero_grad()
            out = vectors(encoder, texts)
            (out @ out.T).tanh().sum().backward()
            optimizer.step()
            after(step)

    if not narrow:
        return steps(list(encoder.parameters()), lambda step: None)
    with narrowed(encoder, np.unique(texts.ids)) as table:

        def after(step: int) -> None:
            table.unused_decay *= 1 - lr * decay
            with table.widened():
                if each is not None:
                    each(step)

        steps(list(encoder.parameters()), after)


def test_training_a_narrowed_table_is_training_the_whole_one(kind: str) -> None:
    texts = tokens()
    assert len(np.unique(texts.ids)) < VOCABULARY - 20
    start = model(kind, dropout=0.1)
    for name, parameter in start.named_parameters():
        if re.search(r"\b(key|k|k_lin)\.bias$", name):
            parameter.requires_grad_(False)  # its gradient is zero but for rounding, which Adam makes steps of
    whole, narrow = (tower(start).train() for _ in range(2))
    trained(whole, texts, narrow=False)
    trained(narrow, texts, narrow=True)
    wanted = whole.state_dict()
    assert wanted.keys() == narrow.state_dict().keys()
    for name, value in narrow.state_dict().items():
        torch.testing.assert_close(value, wanted[name], rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


def test_a_widened_encoder_knows_every_token_and_what_was_learnt() -> None:
    texts, start = tokens(), model("bert")
    unused = np.setdiff1d(np.arange(5, VOCABULARY), texts.ids)
    elsewhere = Tokens(
        unused.astype(np.int32), np.array([0, len(unused) // 4, len(unused) // 2]), np.zeros(2, np.bool_)
    )
    encoder = tower(start).train()
    seen = []

    def look(step: int) -> None:
        table = encoder.transformer.get_input_embeddings().weight.detach().clone()
        assert table.shape == (VOCABULARY, HIDDEN)
        seen.append((table, vectors(encoder, elsewhere).detach()))

    trained(encoder, texts, narrow=True, each=look)
    before = start.get_input_embeddings().weight.detach()
    for step, (table, _) in enumerate(seen):
        torch.testing.assert_close(table[unused], before[unused] * (1 - 0.01 * 0.3) ** (step + 1))
    used = np.unique(texts.ids)
    for (earlier, one), (later, two) in pairwise(seen):
        assert (earlier[used] != later[used]).any(1).all(), "each row in use has moved"
        assert not torch.equal(one, two)
    assert torch.equal(encoder.transformer.get_input_embeddings().weight, seen[-1][0])
    torch.testing.assert_close(vectors(encoder, elsewhere), seen[-1][1])


def test_the_whole_table_comes_back_when_training_breaks() -> None:
    encoder = tower(model("bert"))
    table = encoder.transformer.get_input_embeddings()
    before = table.weight.detach().clone()
    with pytest.raises(ZeroDivisionError), narrowed(encoder, np.array([5, 9])):
        assert encoder.transformer.get_input_embeddings().num_embeddings == 2
        raise ZeroDivisionError
    assert encoder.transformer.get_input_embeddings() is table
    assert torch.equal(table.weight, before)
