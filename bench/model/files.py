"""Encoders on disk: directories that Sentence Transformers also reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bench.errors import UserError
from bench.model.encoder import Encoder

_TRANSFORMER, _POOLING, _LAYERS, _DENSE, _NORMALIZE = (
    f"sentence_transformers.models.{name}"
    for name in ("Transformer", "Pooling", "WeightedLayerPooling", "Dense", "Normalize")
)
_TANH, _IDENTITY = (f"torch.nn.modules.{name}" for name in ("activation.Tanh", "linear.Identity"))


def save(encoder: Encoder, path: Path) -> None:
    """Write the encoder so that ``SentenceTransformer(path)`` and :func:`read_head` find it.

    Pooling ``pooler`` becomes a dense layer with tanh on the first token, ``first_last_mean`` a layer
    pooling; prefixes become prompts. Raises ``OSError`` or safetensors' own error when the disk refuses.
    """
    path.mkdir(parents=True, exist_ok=True)
    config, hidden = encoder.config, encoder.transformer.config.hidden_size
    two_layers = encoder.pooling == "first_last_mean"
    encoder.transformer.config.output_hidden_states = two_layers
    encoder.transformer.save_pretrained(path)
    encoder.tokenizer.save_pretrained(path)
    longest = max(config.max_query_tokens, config.max_passage_tokens)
    _write(path / "sentence_bert_config.json", {"max_seq_length": longest, "do_lower_case": False})

    modules: list[tuple[str, dict[str, Any], dict[str, Tensor] | None]] = []
    if two_layers:
        count = encoder.transformer.config.num_hidden_layers
        weights = torch.zeros(count)
        weights[0] += 1
        weights[-1] += 1
        shape = {"word_embedding_dimension": hidden, "layer_start": 1, "num_hidden_layers": count}
        modules.append((_LAYERS, shape, {"layer_weights": weights}))
    mean = encoder.pooling in ("mean", "first_last_mean")
    modes = {"pooling_mode_cls_token": not mean, "pooling_mode_mean_tokens": mean}
    modules.append((_POOLING, {"word_embedding_dimension": hidden, **modes}, None))
    if encoder.pooling == "pooler":
        modules.append(_dense(encoder.transformer.pooler.dense, _TANH))
    if encoder.projection is not None:
        modules.append(_dense(encoder.projection, _IDENTITY))
    modules.append((_NORMALIZE, {}, None))

    listing = [{"idx": 0, "name": "0", "path": "", "type": _TRANSFORMER}]
    for index, (kind, settings, state) in enumerate(modules, 1):
        name = f"{index}_{kind.rpartition('.')[2]}"
        (path / name).mkdir(exist_ok=True)
        if settings:
            _write(path / name / "config.json", settings)
        if state is not None:
            save_file(
                {key: value.detach().contiguous() for key, value in state.items()},
                path / name / "model.safetensors",
            )
        listing.append({"idx": index, "name": str(index), "path": name, "type": kind})
    _write(path / "modules.json", listing)
    prompts = {"query": config.query_prefix, "document": config.passage_prefix}
    _write(path / "config_sentence_transformers.json", {"prompts": prompts, "similarity_fn_name": "cosine"})


def _dense(layer: nn.Linear, activation: str) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    shape = {
        "in_features": layer.in_features,
        "out_features": layer.out_features,
        "bias": layer.bias is not None,
    }
    state = {f"linear.{name}": value for name, value in layer.state_dict().items()}
    return _DENSE, {**shape, "activation_function": activation}, state


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


class Head:
    """Pooling and projection of a Sentence Transformers directory; empty for a bare transformer."""

    def __init__(self, path: Path) -> None:
        self.pooling: str | None = None
        self.pooler: dict[str, Tensor] | None = None
        self.projection: nn.Linear | None = None
        if (path / "modules.json").exists():
            try:
                self._read(path)
            except Exception as error:
                raise UserError(
                    f"{path}: not a readable Sentence Transformers directory ({type(error).__name__}: {error})"
                ) from error

    def _read(self, path: Path) -> None:
        for module in json.loads((path / "modules.json").read_text(encoding="utf-8")):
            kind, folder = module["type"].rpartition(".")[2], path / module["path"]
            if kind == "Pooling":
                mode = _mode(json.loads((folder / "config.json").read_text(encoding="utf-8")))
                if mode not in ("cls", "mean"):
                    raise ValueError(f"pooling {mode} is not supported")
                self.pooling = "first_last_mean" if self.pooling == "layers" else mode
            elif kind == "WeightedLayerPooling":
                weights = load_file(folder / "model.safetensors")["layer_weights"]
                inner = weights[1:-1]
                if inner.any() or weights[0] != weights[-1]:
                    raise ValueError("its layer pooling is not that of the first and the last layer")
                self.pooling = "layers"
            elif kind == "Dense":
                self._read_dense(folder)
            elif kind not in ("Transformer", "Normalize"):
                raise ValueError(f"module {kind} is not supported")

    def _read_dense(self, folder: Path) -> None:
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        state = load_file(folder / "model.safetensors")
        state = {name.removeprefix("linear."): value for name, value in state.items()}
        activation = settings["activation_function"]
        square = settings["in_features"] == settings["out_features"] and "bias" in state
        if activation == _TANH and square and self.pooling == "cls" and self.pooler is None:
            self.pooling, self.pooler = "pooler", state
        elif activation == _IDENTITY and self.projection is None:
            self.projection = nn.Linear(settings["in_features"], settings["out_features"], bias="bias" in state)
            self.projection.load_state_dict(state)
        else:
            raise ValueError(f"a dense layer with {activation} in this place is not supported")


def _mode(settings: dict[str, Any]) -> str:
    """The pooling's name, from the present or the older form of its configuration."""
    if "pooling_mode" in settings:
        return str(settings["pooling_mode"])
    on = [name for name, value in settings.items() if name.startswith("pooling_mode_") and value is True]
    names = {"pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean"}
    return names.get(on[0], on[0]) if len(on) == 1 else " + ".join(on)
