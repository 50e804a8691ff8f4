"""What an encoder's directory says of itself holds, unless a setting is given: as Sentence Transformers reads it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import load_file
from torch import nn
from toys import CPU, DATA, toy_encoder

from bench.config.overrides import resolve
from bench.data.tokens import tokenize
from bench.errors import UserError
from bench.model.config import EncoderConfig
from bench.model.described import settled
from bench.model.embedding import encode
from bench.model.encoder import Encoder
from bench.model.files import save
from bench.model.head import activation
from bench.model.presets import build
from bench.model.scratch import word_piece

TEXTS = [*DATA.queries[:4], " ".join(DATA.queries[:3]), *DATA.passages[:2]]
ABOUT = "config_sentence_transformers.json"


@pytest.fixture
def peer() -> ModuleType:
    return pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")


def encoder(**config: object) -> Encoder:
    """A toy encoder none of whose weights is where it started."""
    made = toy_encoder(DATA, **config)
    for parameter in made.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.1)
    return made


def load(directory: Path, **config: object) -> Encoder:
    return build(EncoderConfig(name=str(directory), **config), (), CPU, seed=9)


def vectors(made: Encoder, kind: str = "query", texts: list[str] = TEXTS) -> np.ndarray:
    """Vectors of texts read as queries or as passages."""
    reading = getattr(made.config, kind)
    return encode(made, tokenize(texts, made.tokenizer, reading.tokens, reading.prefix), "fp32")


def theirs(peer: ModuleType, path: Path, *layers: nn.Module, pooling: object = "mean", **pooled: object) -> Any:
    """A model of Sentence Transformers on a toy transformer, saved at ``path``."""
    from sentence_transformers.sentence_transformer import modules as parts

    ours = encoder()
    ours.transformer.save_pretrained(path / "bare")
    ours.tokenizer.save_pretrained(path / "bare")
    transformer = parts.Transformer(str(path / "bare"), max_seq_length=16)
    made = peer.SentenceTransformer(modules=[transformer, parts.Pooling(32, pooling, **pooled), *layers], device="cpu")
    made.save(str(path / "st"))
    return made


def unit(found: Any) -> np.ndarray:
    return F.normalize(torch.as_tensor(found), dim=-1).numpy()


def rewritten(path: Path, **changes: object) -> None:
    told = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**told, **changes}))


def reread(peer: ModuleType, path: Path) -> Any:
    return peer.SentenceTransformer(str(path), device="cpu", local_files_only=True)


POOLED = ("max", "weightedmean", "lasttoken", "cls+mean", "mean+cls", "max+lasttoken+weightedmean")


@pytest.mark.peers
@pytest.mark.parametrize("includes", [True, False])
@pytest.mark.parametrize("pooling", ["cls", "mean", *POOLED])
def test_every_pooling_of_sentence_transformers_and_back(
    peer: ModuleType, tmp_path: Path, pooling: str, includes: bool
) -> None:
    """Read from their directory, and read by them from ours, with and without the prompt in the pooling."""
    made = theirs(peer, tmp_path, pooling=tuple(pooling.split("+")), include_prompt=includes)
    rewritten(tmp_path / "st" / ABOUT, prompts={"query": "kaban: ", "document": "lodor mi "})
    made = reread(peer, tmp_path / "st")
    ours = load(tmp_path / "st")
    assert ours.pooling == pooling and ours.dim == 32 * len(pooling.split("+"))
    save(ours, tmp_path / "ours")
    for other in (made, reread(peer, tmp_path / "ours")):
        np.testing.assert_allclose(vectors(ours), unit(other.encode_query(TEXTS)), atol=1e-5)
        np.testing.assert_allclose(vectors(ours, "passage"), unit(other.encode_document(TEXTS)), atol=1e-5)
    again = load(tmp_path / "ours")
    assert again.recipe == ours.recipe and again.config.query == ours.config.query
    np.testing.assert_array_equal(vectors(again), vectors(ours))


def _chain(peer: ModuleType) -> dict[str, list[nn.Module]]:
    from sentence_transformers.sentence_transformer import modules as parts

    torch.manual_seed(1)
    norm = parts.LayerNorm(24)
    nn.init.normal_(norm.norm.weight)
    return {
        "two identities": [parts.Dense(32, 64, activation_function=nn.Identity()),
                           parts.Dense(64, 12, activation_function=nn.Identity())],
        "tanh": [parts.Dense(32, 16)],
        "several": [parts.Dense(32, 24, activation_function=nn.GELU()), norm, parts.Dropout(0.3), parts.Normalize(),
                    parts.Dense(24, 8, bias=False, activation_function=nn.Sigmoid())],
    }  # fmt: skip


@pytest.mark.peers
@pytest.mark.parametrize("chain", ["two identities", "tanh", "several"])
def test_any_chain_of_layers_and_back(peer: ModuleType, tmp_path: Path, chain: str) -> None:
    made = theirs(peer, tmp_path, *_chain(peer)[chain])
    ours = load(tmp_path / "st")
    np.testing.assert_allclose(vectors(ours), unit(made.encode(TEXTS)), atol=1e-5)
    save(ours, tmp_path / "ours")
    np.testing.assert_allclose(vectors(ours), reread(peer, tmp_path / "ours").encode(TEXTS), atol=1e-5)
    assert load(tmp_path / "ours").recipe == ours.recipe


@pytest.mark.peers
def test_older_layouts_are_read(peer: ModuleType, tmp_path: Path) -> None:
    """The transformer in a folder of its own, dense weights as pytorch_model.bin."""
    from sentence_transformers.sentence_transformer import modules as parts

    made = theirs(peer, tmp_path, parts.Dense(32, 12))
    place = tmp_path / "st"
    state = load_file(place / "2_Dense" / "model.safetensors")
    torch.save(state, place / "2_Dense" / "pytorch_model.bin")
    (place / "2_Dense" / "model.safetensors").unlink()
    (place / "0_Transformer").mkdir()
    for path in [p for p in place.iterdir() if p.is_file() and p.name not in ("modules.json", ABOUT, "README.md")]:
        path.rename(place / "0_Transformer" / path.name)
    listed = json.loads((place / "modules.json").read_text())
    listed[0]["path"] = "0_Transformer"
    (place / "modules.json").write_text(json.dumps(listed))
    np.testing.assert_allclose(vectors(load(place)), unit(made.encode(TEXTS)), atol=1e-5)


def test_lengths_are_the_directorys_where_they_are_shorter(tmp_path: Path) -> None:
    made = encoder()
    save(made, tmp_path)
    assert (load(tmp_path).config.query.tokens, load(tmp_path).config.passage.tokens) == (16, 16), "its own"
    rewritten(tmp_path / ABOUT, negbench=None)
    for told, wanted in ((6, (6, 6)), (100, (64, 100)), (512, (64, 128))):
        rewritten(tmp_path / "sentence_bert_config.json", max_seq_length=told)
        found = settled(EncoderConfig(name=str(tmp_path)))
        assert (found.max_query_tokens, found.max_passage_tokens) == wanted
    assert settled(EncoderConfig(name=str(tmp_path), max_query_tokens=200)).max_query_tokens == 200


@pytest.mark.parametrize(
    ("prompts", "wanted"),
    [
        ({"query": "q: ", "document": "d: "}, ("q: ", "d: ")),
        ({"query": "q: ", "passage": "p: ", "corpus": "c: "}, ("q: ", "p: ")),
        ({"corpus": "c: "}, ("", "c: ")),
        ({"query": "q: ", "document": "", "passage": "p: "}, ("q: ", "")),
        ({"other": "o: "}, ("", "")),
        ({"query": "", "document": ""}, ("", "")),
        (None, ("", "")),
    ],
)
def test_prompts_are_read_by_their_names(
    tmp_path: Path, prompts: dict[str, str] | None, wanted: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    save(encoder(), tmp_path)
    rewritten(tmp_path / ABOUT, prompts=prompts, default_prompt_name=None)
    made = load(tmp_path)
    assert (made.config.query.prefix, made.config.passage.prefix) == wanted
    assert ("name neither queries nor passages" in caplog.text) == (prompts == {"other": "o: "})
    assert load(tmp_path, query_prefix="").config.query.prefix == "", "what is given holds, even if it is empty"


def test_the_id_of_a_run_counts_what_the_directory_says(tmp_path: Path) -> None:
    save(encoder(query_prefix="kaban: "), tmp_path)
    plain = resolve([f"encoder={tmp_path}"])
    told = plain.tree()["encoder"]
    assert (told["query_prefix"], told["max_query_tokens"]) == ("kaban: ", 16)
    assert plain.run_id("f") == resolve([f"encoder={tmp_path}", "encoder.query_prefix='kaban: '"]).run_id("f")
    assert plain.run_id("f") != resolve([f"encoder={tmp_path}", "encoder.query_prefix=''"]).run_id("f")
    rewritten(tmp_path / ABOUT, prompts={"query": "other: "})
    assert replace(plain).run_id("f") != resolve([f"encoder={tmp_path}", "encoder.query_prefix='kaban: '"]).run_id("f")


@pytest.mark.peers
def test_texts_are_lowered_and_vectors_cut_where_the_directory_says(peer: ModuleType, tmp_path: Path) -> None:
    theirs(peer, tmp_path)
    place = tmp_path / "st"
    tokenizer = json.loads((place / "tokenizer.json").read_text())
    tokenizer["normalizer"] = None
    (place / "tokenizer.json").write_text(json.dumps(tokenizer))
    rewritten(place / "sentence_bert_config.json", do_lower_case=True)
    rewritten(place / ABOUT, truncate_dim=5)
    made, upper = reread(peer, place), [text.upper() for text in TEXTS]
    ours = load(place)
    assert ours.dim == 5
    np.testing.assert_allclose(vectors(ours, texts=upper), unit(made.encode(upper)), atol=1e-5)
    save(ours, tmp_path / "ours")
    again = load(tmp_path / "ours")
    np.testing.assert_array_equal(vectors(again, texts=upper), vectors(ours, texts=upper))
    np.testing.assert_allclose(
        unit(reread(peer, tmp_path / "ours").encode(upper)), vectors(ours, texts=upper), atol=1e-5
    )


def test_a_given_pooling_overrules_what_is_described(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save(encoder(output_dim=12), tmp_path)
    kept = load(tmp_path, pooling="cls")
    assert kept.pooling == "cls" and kept.dim == 12, "a layer that fits stays"
    with pytest.raises(UserError, match=r"takes 32 values, its pooling gives 64; encoder\.output_dim replaces"):
        load(tmp_path, pooling="cls+mean")
    assert load(tmp_path, pooling="cls+mean", output_dim=7).dim == 7
    rewritten(tmp_path / "2_Dense" / "config.json", activation_function="os.system")
    with pytest.raises(UserError, match=r"activation os\.system is not supported\); encoder\.pooling=mean would"):
        load(tmp_path)
    assert load(tmp_path, pooling="mean").dim == 32 and "overrules what is not supported" in caplog.text


@pytest.mark.parametrize("name", ["os.system", "torch.nn.Linear", "torch.nn.functional.relu", "torch.load", "Tanh"])
def test_an_activation_is_one_of_torch(name: str) -> None:
    assert isinstance(activation("torch.nn.modules.activation.ReLU"), nn.ReLU)
    with pytest.raises(ValueError, match="is not supported"):
        activation(name)


def _of(change: Callable[[Path], None], path: Path) -> Path:
    save(encoder(), path)
    change(path)
    return path


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: rewritten(d / "config.json", auto_map={"AutoModel": "code.Model"}), "trust_remote_code=true"),
        (lambda d: rewritten(d / "config.json", sentence_transformers={"version": "5"}), "is a CrossEncoder"),
        (lambda d: rewritten(d / ABOUT, model_type="SparseEncoder"), "SparseEncoder, which gives no vector"),
        (
            lambda d: [(d / "config.json").unlink(), (d / "modules.json").write_text(
                '[{"path": "", "type": "sentence_transformers.models.Router"}]')],
            "its modules begin with Router, which is not supported",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_honoured_is_refused_in_one_line(
    tmp_path: Path, change: Callable[[Path], None], told: str
) -> None:
    with pytest.raises(UserError, match=told) as caught:
        load(_of(change, tmp_path))
    assert "\n" not in str(caught.value)


def bare(path: Path, model: transformers.PreTrainedModel, **special: object) -> None:
    model.save_pretrained(path)
    tokenizer = word_piece([*DATA.queries, *DATA.passages], 300)
    for name, value in special.items():
        setattr(tokenizer, name, value)
    tokenizer.save_pretrained(path)


def size() -> int:
    return len(word_piece([*DATA.queries, *DATA.passages], 300))


@pytest.mark.peers
def test_a_causal_model_without_padding_token_is_saved_for_sentence_transformers(
    peer: ModuleType, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 40, "vocab_size": size()}
    config = transformers.GPT2Config(**sizes, bos_token_id=None, eos_token_id=3)
    bare(tmp_path / "bare", transformers.GPT2Model(config), pad_token=None, eos_token="[SEP]", padding_side="left")
    short = {"max_query_tokens": 16, "max_passage_tokens": 16}
    ours = load(tmp_path / "bare", causal=True, **short)
    assert ours.pooling == "lasttoken" and ours.tokenizer.pad_token is None
    before = vectors(ours)
    save(ours, tmp_path / "ours")
    np.testing.assert_allclose(reread(peer, tmp_path / "ours").encode(TEXTS), before, atol=1e-5)
    np.testing.assert_array_equal(vectors(load(tmp_path / "ours", causal=True)), before)


@pytest.mark.peers
def test_the_encoder_of_t5(peer: ModuleType, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = transformers.T5Config(vocab_size=size(), d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4)
    bare(tmp_path / "bare", transformers.T5Model(config), pad_token="[PAD]")
    ours = load(tmp_path / "bare", max_query_tokens=16, max_passage_tokens=16)
    save(ours, tmp_path / "ours")
    np.testing.assert_allclose(reread(peer, tmp_path / "ours").encode(TEXTS), vectors(ours), atol=1e-5)
    np.testing.assert_array_equal(vectors(load(tmp_path / "ours")), vectors(ours))


@pytest.mark.parametrize("kind", ["DPRQuestionEncoder", "DPRContextEncoder"])
@pytest.mark.parametrize("projection", [0, 12])
def test_dpr_is_its_pooled_output(tmp_path: Path, kind: str, projection: int) -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 48}
    config = transformers.DPRConfig(vocab_size=size(), **sizes, projection_dim=projection, max_position_embeddings=140)
    plain = getattr(transformers, kind)(config).eval()
    bare(tmp_path / "bare", plain)
    ours = load(tmp_path / "bare")
    tokens = tokenize(TEXTS, ours.tokenizer, 64)
    with torch.no_grad():
        wanted = [plain(torch.from_numpy(tokens[t].astype(np.int64))[None]).pooler_output[0] for t in range(len(TEXTS))]
    np.testing.assert_allclose(vectors(ours), unit(torch.stack(wanted)), atol=1e-5)
    save(ours, tmp_path / "ours")
    np.testing.assert_array_equal(vectors(load(tmp_path / "ours")), vectors(ours))


def test_a_hub_id_of_one_word_is_read_from_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Names such as distilroberta are old hub ids; whether there is one is known without a network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    commit = "0" * 40
    place = tmp_path / "models--smallbert"
    save(encoder(), place / "snapshots" / commit)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    from bench.model.presets import locate

    assert locate("smallbert") == "smallbert"
    with pytest.raises(UserError, match="no preset or directory of that name; a hub id is OWNER/NAME"):
        locate("otherbert")
