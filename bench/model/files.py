"""Encoders on disk: directories that Sentence Transformers also reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from bench.model.config import PARTS
from bench.model.described import LEGACY, OWN
from bench.model.encoder import Encoder
from bench.model.head import written, written_dense

_Module = tuple[str, dict[str, Any], dict[str, Tensor]]


def save(encoder: Encoder, path: Path) -> None:
    """Write the encoder so that ``SentenceTransformer(path)`` and :func:`bench.model.described.read` find it.

    Pooling ``pooler`` becomes a dense layer with tanh on the first token, ``pooler_linear`` one without, and
    ``first_last_mean`` a layer pooling; prefixes become prompts. Raises ``OSError`` or safetensors' own error when the
    disk refuses.
    """
    path.mkdir(parents=True, exist_ok=True)
    config = encoder.config
    encoder.transformer.config.output_hidden_states = encoder.pooling == "first_last_mean"
    encoder.transformer.save_pretrained(path)
    _make_padded(encoder.tokenizer)
    encoder.tokenizer.save_pretrained(path)
    longest = max(config.query.tokens, config.passage.tokens)
    _write(path / "sentence_bert_config.json", {"max_seq_length": longest, "do_lower_case": False})

    listing: list[dict[str, Any]] = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}
    ]
    for index, (kind, settings, state) in enumerate(_modules(encoder), 1):
        name = f"{index}_{kind}"
        (path / name).mkdir(exist_ok=True)
        if settings:
            _write(path / name / "config.json", settings)
        if state:
            weights = {key: value.detach().contiguous() for key, value in state.items()}
            save_file(weights, path / name / "model.safetensors")
        module = f"sentence_transformers.models.{kind}"
        listing.append({"idx": index, "name": str(index), "path": name, "type": module})
    _write(path / "modules.json", listing)
    about: dict[str, Any] = {
        "prompts": {"query": config.query.prefix, "document": config.passage.prefix},
        "similarity_fn_name": "cosine",
        OWN: {
            "max_query_tokens": config.query.tokens,
            "max_passage_tokens": config.passage.tokens,
            **({"pooling": encoder.pooling} if encoder.pooling == "pooler_linear" else {}),  # any dense layer looks so
        },
    }
    if encoder.truncate_dim is not None:
        about["truncate_dim"] = encoder.truncate_dim
    _write(path / "config_sentence_transformers.json", about)


def _modules(encoder: Encoder) -> list[_Module]:
    """What follows the transformer, as modules of Sentence Transformers."""
    width = {"word_embedding_dimension": encoder.hidden}
    modules: list[_Module] = []
    pooling = {"pooler": "cls", "pooler_linear": "cls", "first_last_mean": "mean"}.get(encoder.pooling, encoder.pooling)
    if encoder.pooling == "first_last_mean":
        count = encoder.transformer.config.num_hidden_layers
        weights = torch.zeros(count)
        weights[0] += 1
        weights[-1] += 1
        shape = {**width, "layer_start": 1, "num_hidden_layers": count}
        modules.append(("WeightedLayerPooling", shape, {"layer_weights": weights}))
    modules.append(("Pooling", {**width, **_modes(pooling), "include_prompt": not encoder.skip_prompt}, {}))
    if encoder.pooling in ("pooler", "pooler_linear"):
        after = nn.Tanh() if encoder.pooling == "pooler" else nn.Identity()
        modules.append(written_dense(encoder.transformer.pooler.dense, after))
    modules += [written(layer) for layer in encoder.projection or ()]
    modules.append(("Normalize", {}, {}))
    return modules


def _modes(pooling: str) -> dict[str, Any]:
    """The pooling in the form that every version of Sentence Transformers reads, where that form can express it."""
    parts = pooling.split("+")
    if parts != sorted(parts, key=PARTS.index):  # the older form joins them in this order
        return {"pooling_mode": parts}
    always = ("cls", "mean")  # a mean that is not said to be off counts as on there
    return {key: name in parts for key, name in LEGACY.items() if name in parts or name in always}


def _make_padded(tokenizer: PreTrainedTokenizerBase) -> None:
    """Have the tokenizer pad as the encoder does: on the right, with any token where it has none for that."""
    tokenizer.padding_side = "right"
    if tokenizer.pad_token is None:
        known = (tokenizer.eos_token, tokenizer.unk_token, tokenizer.convert_ids_to_tokens(0))
        tokenizer.pad_token = next(token for token in known if token is not None)


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
