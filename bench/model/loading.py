"""The transformer and the tokenizer of a directory or hub id, with what they need to be an encoder."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from bench.errors import UserError, first_line
from bench.model.config import EncoderConfig
from bench.model.described import Description
from bench.model.head import Dense

_ENCODERS = {"t5": "T5EncoderModel", "mt5": "MT5EncoderModel", "umt5": "UMT5EncoderModel"}
"""The encoder alone of models that also have a decoder."""


@dataclass(frozen=True)
class Loaded:
    """A model and its tokenizer, with the pooling and the layers after it that its architecture has of its own.

    With ``new_pooler`` the weights of its pooler are random.
    """

    transformer: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    pooling: str | None = None
    layers: tuple[nn.Module, ...] = ()
    new_pooler: bool = False


def load(source: str, told: Description, config: EncoderConfig) -> Loaded:
    """The model and the tokenizer of ``source``, a directory or a hub id.

    Raises :class:`UserError` where there is no usable encoder, and for program code that is not trusted.
    """
    local = Path(source).is_dir()
    options: dict[str, Any] = {
        "subfolder": told.folder,
        "trust_remote_code": config.trust_remote_code,
        **({"local_files_only": True} if local else {}),  # no request for files that a directory lacks
    }
    try:
        about = _configuration(source, options, config)
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
        kind = _class_of(source, about, config)
        transformer, info = kind.from_pretrained(source, dtype=torch.float32, output_loading_info=True, **options)
        _complete(tokenizer, info["missing_keys"])
        if told.lower_case:
            _lower(tokenizer)
        if about.model_type == "dpr":
            return _of_dpr(transformer, tokenizer)
    except UserError:
        raise
    except Exception as error:
        if "trust_remote_code" in str(error):  # of the tokenizer alone
            raise _untrusted(source) from error
        where = "in this directory" if local else "on this machine or on the hub"
        raise UserError(f"encoder={source}: no usable encoder {where}: {first_line(error)}") from error
    if config.causal and getattr(transformer.config, "use_cache", False):
        transformer.config.use_cache = False  # of keys and values for the next word, which is not asked for
    return Loaded(transformer, tokenizer, new_pooler=any(map(_of_pooler, info["missing_keys"])))


def _configuration(source: str, options: dict[str, Any], config: EncoderConfig) -> Any:
    """The model's configuration. Raises for program code in the directory unless it is trusted."""
    told, _ = transformers.PretrainedConfig.get_config_dict(source, **{**options, "trust_remote_code": None})
    if "sentence_transformers" in told:
        raise UserError(f"encoder={source} is a CrossEncoder, which scores pairs and gives no vector of a text")
    if {"AutoConfig", "AutoModel"} & (told.get("auto_map") or {}).keys() and not config.trust_remote_code:
        raise _untrusted(source)
    return AutoConfig.from_pretrained(source, **options)


def _untrusted(source: str) -> UserError:
    return UserError(
        f"encoder={source} has program code of its own, which loading it would run; look at it, then set "
        "encoder.trust_remote_code=true"
    )


def _class_of(source: str, about: Any, config: EncoderConfig) -> Any:
    """The class that loads the encoder of a configuration. Raises where there is none."""
    if about.model_type in _ENCODERS:
        return getattr(transformers, _ENCODERS[about.model_type])
    if about.model_type == "dpr" and "DPRContextEncoder" in (about.architectures or ()):
        return transformers.DPRContextEncoder
    if about.is_encoder_decoder or (getattr(about, "is_decoder", False) and not config.causal):
        raise UserError(f"encoder={source}: {about.model_type} is not an encoder")
    return AutoModel


def _complete(tokenizer: PreTrainedTokenizerBase, missing: Collection[str]) -> None:
    """Raise for what ``transformers`` fills in silently: new weights for missing ones, an empty vocabulary.

    A pooler may be new: few published encoders have one, and it is trained when it is used.
    """
    lost = sorted(name for name in missing if not _of_pooler(name))
    if lost:
        raise ValueError(f"{len(lost)} weights are missing, {lost[0]} among them")
    check_vocabulary(tokenizer)


def quiet() -> None:
    """Have ``transformers`` show neither warnings nor progress: what matters is told here."""
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()


def check_vocabulary(tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise ``ValueError`` for a tokenizer without words, which ``transformers`` makes where files are missing."""
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise ValueError("there is no vocabulary")


def _of_pooler(name: str) -> bool:
    return name.startswith("pooler.")


def _lower(tokenizer: PreTrainedTokenizerBase) -> None:
    """Have the tokenizer lower its texts, as ``do_lower_case`` of Sentence Transformers does."""
    from tokenizers import normalizers

    backend = tokenizer.backend_tokenizer
    steps = [normalizers.Lowercase(), *([backend.normalizer] if backend.normalizer is not None else [])]
    backend.normalizer = normalizers.Sequence(steps)


def _of_dpr(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Loaded:
    """A DPR encoder is a BERT whose first token is pooled, through a projection if it has one."""
    inner = next(module for module in model.modules() if hasattr(module, "bert_model"))
    told = {key: value for key, value in model.config.to_dict().items() if key not in ("model_type", "architectures")}
    bert = transformers.BertModel(transformers.BertConfig(**told), add_pooling_layer=False)
    bert.load_state_dict(inner.bert_model.state_dict())
    return Loaded(bert, tokenizer, "cls", (Dense(inner.encode_proj),) if inner.projection_dim else ())
