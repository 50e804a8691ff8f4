"""Every architecture of ``transformers`` gives the vectors of its own plain model, or is refused in one line."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import transformers
from toys import CPU
from transformers import AutoConfig, AutoModel, PreTrainedModel

from bench.data.tokens import Tokens
from bench.errors import UserError
from bench.model.config import EncoderConfig
from bench.model.embedding import encode
from bench.model.encoder import Encoder
from bench.model.narrowing import narrowed
from bench.model.trial import prepare

VOCABULARY = 120
PLAIN: dict[str, object] = {
    "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 48,
    "max_position_embeddings": 64,
}  # fmt: skip
GROUPED = {**PLAIN, "num_key_value_heads": 2, "head_dim": 8}
T5 = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 1, "num_heads": 4}
GPT2 = {"n_embd": 32, "n_layer": 1, "n_head": 4, "n_positions": 64}
XGLM = {"d_model": 32, "num_layers": 1, "attention_heads": 4, "ffn_dim": 48}
PERCEIVER = {
    "num_latents": 4, "d_latents": 16, "d_model": 16, "num_blocks": 1, "num_self_attends_per_block": 1,
    "num_self_attention_heads": 2, "num_cross_attention_heads": 2,
}  # fmt: skip
SPECIAL = {"bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}

BIDIRECTIONAL: dict[str, dict[str, object]] = {
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "mpnet", "layoutlm", "ibert", "big_bird", "roformer"), PLAIN),
    **{kind: {**PLAIN, "embedding_size": 32} for kind in ("albert", "electra", "squeezebert")},
    "deberta-v2": {**PLAIN, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    "longformer": {**PLAIN, "attention_window": [8]},
    "modernbert": {**PLAIN, **SPECIAL},
    "gemma3_text": {**GROUPED, "sliding_window": 8, "use_bidirectional_attention": True},
    "xlnet": {"d_model": 32, "n_layer": 1, "n_head": 4, "d_inner": 48},
    **dict.fromkeys(("t5", "mt5", "umt5"), T5),
}
CAUSAL: dict[str, dict[str, object]] = {
    **dict.fromkeys(("llama", "qwen3", "gemma", "gemma2", "mistral"), GROUPED),
    "gpt2": GPT2,
    "xglm": XGLM,
    "opt": {**PLAIN, "word_embed_proj_dim": 32, "ffn_dim": 48},
    "bloom": {"hidden_size": 32, "n_layer": 1, "n_head": 4},
}
REFUSED: dict[str, tuple[dict[str, object], str]] = {
    "convbert": ({**PLAIN, "embedding_size": 32}, "depends on the other texts of its batch"),
    "fnet": (PLAIN, "depends on the other texts of its batch"),
    "canine": (PLAIN, r"a trial pass of this canine model failed \(RuntimeError"),
    "perceiver": (PERCEIVER, "states no size of hidden states"),
}
SCALED = ("gemma", "gemma2", "gemma3_text", "xglm")
LENGTHS = (7, 1, 20, 2, 12, 3)


def model(kind: str, settings: dict[str, object]) -> PreTrainedModel:
    """A random model without dropout; weights larger than usual, so that whatever is left out shows."""
    sizes = {} if kind == "perceiver" else {"vocab_size": VOCABULARY, "pad_token_id": 0}
    config = AutoConfig.for_model(kind, **{**sizes, **settings})
    for key, value in list(vars(config).items()):
        if key.endswith(("dropout", "dropout_prob", "dropout_rate", "pdrop")) and isinstance(value, float):
            setattr(config, key, 0.0)
    torch.manual_seed(0)
    alone = {"t5": "T5EncoderModel", "mt5": "MT5EncoderModel", "umt5": "UMT5EncoderModel"}.get(kind)
    built = getattr(transformers, alone)(config) if alone else AutoModel.from_config(config)
    with torch.no_grad():
        for weight in built.parameters():
            if weight.dim() > 1:
                weight.normal_(0, 0.15)
    return built.eval()


def texts() -> Tokens:
    offsets = np.concatenate([[0], np.cumsum(LENGTHS)])
    ids = np.random.default_rng(0).integers(5, VOCABULARY, int(offsets[-1]), dtype=np.int32)
    return Tokens(ids, offsets, np.zeros(len(LENGTHS), dtype=np.bool_))


@torch.no_grad()
def by_hand(plain: PreTrainedModel, tokens: Tokens, causal: bool) -> np.ndarray:
    """Each text alone, by token id, through the plain model."""
    rows = []
    for text in range(len(tokens)):
        states = plain(torch.from_numpy(tokens[text].astype(np.int64))[None]).last_hidden_state[0]
        rows.append(F.normalize(states[-1] if causal else states.mean(0), dim=0))
    return torch.stack(rows).numpy()


def tower(plain: PreTrainedModel, **settings: object) -> Encoder:
    return prepare(Encoder(deepcopy(plain), None, EncoderConfig(name="tiny", **settings)), CPU)


@pytest.mark.parametrize("kind", [*BIDIRECTIONAL, *CAUSAL])
def test_vectors_are_those_of_the_plain_model_whole_and_narrowed(kind: str) -> None:
    causal = kind in CAUSAL
    plain, tokens = model(kind, {**BIDIRECTIONAL, **CAUSAL}[kind]), texts()
    if causal:
        with pytest.raises(UserError, match=rf"this {kind} model is causal.*encoder\.causal=true takes it"):
            tower(plain)
    encoder = tower(plain, causal=causal)
    wanted = by_hand(plain, tokens, causal)
    np.testing.assert_allclose(encode(encoder, tokens, "fp32"), wanted, atol=5e-6)
    with narrowed(encoder, np.unique(tokens.ids)):
        np.testing.assert_allclose(encode(encoder, tokens, "fp32"), wanted, atol=5e-6)
    assert encoder.narrows == (kind != "ibert"), "I-BERT's table gives a pair"


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_used_is_refused_in_one_line(kind: str) -> None:
    settings, told = REFUSED[kind]
    with pytest.raises(UserError, match=told) as caught:
        tower(model(kind, settings))
    assert kind in str(caught.value) and "\n" not in str(caught.value)


def test_causal_is_for_causal_models() -> None:
    with pytest.raises(UserError, match="this bert model is not causal"):
        tower(model("bert", PLAIN), causal=True)


@pytest.mark.parametrize("kind", SCALED)
def test_a_narrowed_table_keeps_its_class_and_scale(kind: str) -> None:
    encoder = tower(model(kind, {**BIDIRECTIONAL, **CAUSAL}[kind]), causal=kind in CAUSAL)
    whole = encoder.word_embeddings
    ids = torch.tensor([9, 5, 77])
    before = whole(ids).detach()
    with narrowed(encoder, np.array([5, 9, 77])):
        assert type(encoder.word_embeddings) is type(whole) and len(encoder.word_embeddings.weight) == 3
        torch.testing.assert_close(encoder._inputs(ids), before)
    assert encoder.word_embeddings is whole and len(whole.weight) == VOCABULARY


def test_an_encoder_that_keeps_its_whole_table_trains() -> None:
    encoder, tokens = tower(model("ibert", PLAIN)), texts()
    before = encoder.transformer.get_input_embeddings().weight.detach().clone()
    with narrowed(encoder, np.unique(tokens.ids)) as table, table.widened():
        encode(encoder, tokens, "fp32")
    assert torch.equal(encoder.transformer.get_input_embeddings().weight, before)


def test_a_trial_leaves_random_state_and_mode_as_they_are() -> None:
    plain = model("bert", PLAIN)
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    encoder = tower(plain.train())
    assert torch.equal(torch.rand(3), wanted)
    assert encoder.training and not encoder.transformer.pooler


def test_a_tokenizer_larger_than_the_table_is_refused_with_both_numbers() -> None:
    from bench.model.scratch import word_piece

    tokenizer = word_piece([f"word{n} tale" for n in range(300)], 400)
    plain = model("bert", {**PLAIN, "vocab_size": 40})
    with pytest.raises(UserError, match=rf"tokenizer has {len(tokenizer)} tokens, but .* word embeddings for 40;"):
        prepare(Encoder(plain, tokenizer, EncoderConfig(name="tiny")), CPU)
