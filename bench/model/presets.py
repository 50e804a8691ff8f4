"""From a name to an encoder: presets, directories and hub ids."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from bench.errors import UserError, nearest
from bench.model.config import EncoderConfig
from bench.model.described import PRESETS, Description, Unsupported, find, read, settled
from bench.model.encoder import Encoder
from bench.model.head import Dense, first_and_last, hidden_size, layers_of, width_of
from bench.model.loading import Loaded, load, quiet
from bench.model.published import PUBLISHED
from bench.model.scratch import scratch, scratch_roformer
from bench.model.trial import prepare
from bench.setting import place_named

log = logging.getLogger(__name__)


SCRATCH: dict[str, Callable[[Sequence[str]], tuple[PreTrainedModel, PreTrainedTokenizerBase]]] = {
    "scratch": scratch,
    "scratch-roformer": scratch_roformer,
}
"""Untrained models by their names."""


def build(config: EncoderConfig, texts: Sequence[str], device: torch.device, seed: int) -> Encoder:
    """The encoder that ``config`` names, on ``device``, in training mode.

    ``texts`` is the corpus that a scratch model learns its vocabulary from; ``seed`` decides every weight that
    is new (a scratch model, a projection). The encoder's own ``config`` has lengths, prefixes and pooling as its
    directory says them where they are not given. Raises :class:`UserError` when the encoder cannot be found, loaded
    or used.
    """
    torch.manual_seed(seed)
    quiet()
    if config.name in SCRATCH:
        transformer, tokenizer = SCRATCH[config.name](texts)
        return prepare(Encoder(transformer, tokenizer, settled(config)), device)
    source = locate(config.name)
    if config.name == "minilm-l3" and config.layers is None:
        config = replace(config, layers=(0, 2, 5))
    place = find(source, fetch=True) or Path(source)
    told = read(place)
    if not (place / told.folder / "config.json").exists():
        raise UserError(f"encoder={config.name}: there is no config.json in this directory{_first(told)}")
    loaded = load(source, told, config)
    try:
        encoder = _assembled(loaded, told, settled(config, place))
    except UserError:
        raise
    except Exception as error:
        reason = str(error) if isinstance(error, Unsupported) else f"{type(error).__name__}: {error}"
        hint = "; encoder.pooling=mean would read its transformer alone" if isinstance(error, Unsupported) else ""
        raise UserError(f"{place}: not a readable Sentence Transformers directory ({reason}){hint}") from error
    names = ", ".join(name for name, text in told.prompts.items() if text)
    if names and not any(told.prefixes) and config.query_prefix is None:
        log.warning("encoder=%s: its prompts (%s) name neither queries nor passages; none is used", config.name, names)
    return prepare(encoder, device)


def _first(told: Description) -> str:
    return f"; its modules begin with {told.modules[0].kind}, which is not supported" if told.modules else ""


def _assembled(loaded: Loaded, told: Description, config: EncoderConfig) -> Encoder:
    """The encoder with the pooling and the layers that are set, else described, else its architecture's own.

    Raises :class:`Unsupported` for a description that is not understood and not overruled, and what reading a damaged
    one raises.
    """
    pooling, layers = config.pooling, list(loaded.layers)
    try:
        described = told.pooling
        pooling = pooling or described or loaded.pooling
        after = _layers_after_pooling(told)
    except Unsupported as error:
        if config.pooling is None:
            raise
        log.warning("encoder.pooling=%s overrules what is not supported of %s: %s", pooling, config.name, error)
        described, after = None, []
    if described in ("pooler", "pooler_linear"):
        pooler = after.pop(0)
        assert isinstance(pooler, Dense)
        own = getattr(getattr(loaded.transformer, "pooler", None), "dense", None)
        if pooling in ("pooler", "pooler_linear") and own is not None:
            own.load_state_dict(pooler.linear.state_dict())
        elif pooling == described:  # the model has no place for it
            pooling, after = "cls", [pooler, *after]
    elif pooling in ("pooler", "pooler_linear") and loaded.new_pooler:
        log.warning("encoder=%s has no weights of a pooler: encoder.pooling=%s has random ones", config.name, pooling)
    settings = replace(config, pooling=pooling)
    layers += after
    return Encoder(loaded.transformer, loaded.tokenizer, settings, *_projection(layers, told, settings, loaded))


def _layers_after_pooling(told: Description) -> list[nn.Module]:
    """The layers of the head. Raises :class:`Unsupported` for modules that are not known here or stand elsewhere."""
    kinds = [module.kind for module in told.modules]
    start = kinds.index("Pooling") + 1 if "Pooling" in kinds else 0
    for module in told.modules[: start - 1 if start else 0]:
        if module.kind != "WeightedLayerPooling":
            raise Unsupported(f"module {module.kind} is not supported")
        if not first_and_last(module.folder):
            raise Unsupported("its layer pooling is not that of the first and the last layer")
    return layers_of(told.modules[start:])


def _projection(
    layers: list[nn.Module], told: Description, config: EncoderConfig, loaded: Loaded
) -> tuple[nn.Sequential | None, int | None, bool]:
    """What the encoder is made with: its layers, the length that vectors are cut to, whether prefixes are not pooled.

    A given ``output_dim`` of another size replaces the layers. Raises :class:`UserError` where they do not fit.
    """
    width = hidden_size(loaded.transformer) * (1 + (config.pooling or "").count("+"))
    skip_prompt, truncate_dim = not told.includes_prompt, told.truncate_dim
    try:
        size = width_of(layers, width)
    except ValueError as error:
        if config.output_dim is None:
            raise UserError(f"encoder={config.name}: {error}; encoder.output_dim replaces its dense layers") from error
        size = 0
    if config.output_dim is not None:
        truncate_dim = None
        if layers and size != config.output_dim:
            log.warning("encoder.output_dim=%d replaces the dense layers of %s", config.output_dim, config.name)
            layers = []
    return nn.Sequential(*layers) if layers else None, truncate_dim, skip_prompt


def locate(name: str) -> str:
    """The directory, or the hub id, that an encoder name stands for.

    Raises :class:`UserError` for a directory that does not exist and for a preset that cannot be loaded.
    """
    if name in PUBLISHED:
        return PUBLISHED[name].locate()
    if (place := place_named(name)).is_dir():
        return str(place)
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise UserError(f"encoder={name}: there is no such directory")
    if "/" not in name and find(name) is None:  # ids of one word are old names, which the hub's cache may hold
        close = nearest(name, PRESETS)
        raise UserError(f"encoder={name}: there is no preset or directory of that name; a hub id is OWNER/NAME{close}")
    return name
