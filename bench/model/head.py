"""The layers between pooling and unit length: dense layers with activations, as Sentence Transformers has them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from bench.errors import UserError
from bench.model.described import Module, Unsupported

if TYPE_CHECKING:
    from transformers import PreTrainedModel

DROPOUT = 0.1  # PaddleNLP neural_search base_model.py


class Dense(nn.Module):
    """A linear layer and its activation, in float32: whitening would magnify the rounding of a shorter format."""

    def __init__(self, linear: nn.Linear, activation: nn.Module | None = None) -> None:
        super().__init__()
        self.linear = linear
        self.activation = activation or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            out: Tensor = self.activation(self.linear(x.float()))
        return out

    def widened(self, width: int) -> Dense:
        """The same layer for vectors of ``width`` values, of which it uses the first."""
        linear = nn.Linear(width, self.linear.out_features, bias=self.linear.bias is not None)
        with torch.no_grad():
            linear.weight.zero_()
            linear.weight[:, : self.linear.in_features] = self.linear.weight
            if linear.bias is not None:
                linear.bias.copy_(self.linear.bias)
        return Dense(linear.to(self.linear.weight.device), self.activation)


class Normalize(nn.Module):
    """Unit length in the middle of a head; at its end every encoder has it."""

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=-1)


def new_projection(width: int, size: int) -> nn.Sequential:
    """An untrained projection with dropout, as PaddleNLP's model has."""
    linear = nn.Linear(width, size)
    nn.init.trunc_normal_(linear.weight, std=0.02, a=-0.04, b=0.04)  # bounds are absolute
    nn.init.zeros_(linear.bias)
    return nn.Sequential(Dense(linear))


def hidden_size(transformer: PreTrainedModel) -> int:
    """The size of a model's states. Raises :class:`UserError` for a model that does not state one."""
    size: int | None = getattr(transformer.config.get_text_config(), "hidden_size", None)
    if size is None:
        raise UserError(f"a {transformer.config.model_type} model cannot be used: it states no size of hidden states")
    return size


def layers_of(modules: tuple[Module, ...]) -> list[nn.Module]:
    """The layers that a directory describes after pooling. Raises :class:`Unsupported` for what is not known here."""
    layers = [_layer(module) for module in modules]
    while layers and isinstance(layers[-1], Normalize):
        layers.pop()
    return layers


def width_of(layers: nn.Sequential | list[nn.Module], width: int) -> int:
    """The size of what ``layers`` make of vectors of size ``width``. Raises ``ValueError`` where they do not fit."""
    for layer in layers:
        if isinstance(layer, Dense):
            if layer.linear.in_features != width:
                raise ValueError(f"its dense layer takes {layer.linear.in_features} values, its pooling gives {width}")
            width = layer.linear.out_features
    return width


def first_and_last(folder: Path) -> bool:
    """Whether a layer pooling is the mean of the first and the last layer."""
    weights = load_file(folder / "model.safetensors")["layer_weights"]
    return not bool(weights[1:-1].any()) and bool(weights[0] == weights[-1])


def dense_state(folder: Path) -> dict[str, Tensor]:
    """The weights of a layer, from either format of file."""
    if (folder / "model.safetensors").exists() or not (folder / "pytorch_model.bin").exists():
        state = load_file(folder / "model.safetensors")
    else:
        state = torch.load(folder / "pytorch_model.bin", map_location="cpu", weights_only=True)
    return {name.removeprefix("linear.").removeprefix("norm."): value.float() for name, value in state.items()}


def _layer(module: Module) -> nn.Module:
    told = module.settings
    if module.kind == "Normalize":
        return Normalize()
    if module.kind == "Dropout":
        return nn.Dropout(told.get("dropout", 0.2))
    if module.kind == "LayerNorm":
        norm = nn.LayerNorm(told["dimension"])
        norm.load_state_dict(dense_state(module.folder))
        return norm
    if module.kind == "Dense":
        return _dense(module)
    raise Unsupported(f"module {module.kind} is not supported")


def _dense(module: Module) -> Dense:
    told, state = module.settings, dense_state(module.folder)
    if told.get("module_input_name", "sentence_embedding") != "sentence_embedding" or told.get("use_residual"):
        raise Unsupported("a dense layer on tokens, or with a residual, is not supported")
    linear = nn.Linear(told["in_features"], told["out_features"], bias="bias" in state)
    linear.load_state_dict(state)
    return Dense(linear, activation(told.get("activation_function", "torch.nn.modules.activation.Tanh")))


def activation(name: str) -> nn.Module:
    """The activation of a name such as ``torch.nn.modules.activation.Tanh``; nothing outside ``torch.nn``."""
    kind = getattr(nn, name.rpartition(".")[2], None) if name.startswith("torch.nn.") else None
    if kind is not nn.Identity and getattr(kind, "__module__", None) != "torch.nn.modules.activation":
        raise Unsupported(f"the activation {name} is not supported")
    made: nn.Module = kind()  # type: ignore[misc]
    if list(made.parameters()):
        raise Unsupported(f"the activation {name} has weights, which is not supported")
    return made


def written(layer: nn.Module) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    """A layer as a module of Sentence Transformers: its class, its settings and its weights."""
    if isinstance(layer, Dense):
        return written_dense(layer.linear, layer.activation)
    if isinstance(layer, nn.LayerNorm):
        shape = {"dimension": layer.normalized_shape[0]}
        return "LayerNorm", shape, {f"norm.{name}": value for name, value in layer.state_dict().items()}
    if isinstance(layer, nn.Dropout):
        return "Dropout", {"dropout": layer.p}, {}
    return "Normalize", {}, {}


def written_dense(linear: nn.Linear, after: nn.Module) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    """A linear layer and its activation as a module of Sentence Transformers."""
    settings = {
        "in_features": linear.in_features,
        "out_features": linear.out_features,
        "bias": linear.bias is not None,
        "activation_function": f"{type(after).__module__}.{type(after).__qualname__}",
    }
    return "Dense", settings, {f"linear.{name}": value for name, value in linear.state_dict().items()}
