"""Cross-encoders: models that read a query and a passage together and say how likely the passage answers the query."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from bench.data.dataset import Floats
from bench.errors import UserError
from bench.model.precision import autocast
from bench.setting import place_named

AT_ONCE = 32  # pairs in a batch
SORTED = 4096  # pairs that are sorted by length together


@dataclass(frozen=True)
class CrossEncoder:
    """A classifier of pairs of texts, with one output (its logit) or two (irrelevant and relevant).

    ``most_tokens`` of both texts together are read.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    precision: str
    most_tokens: int = 512

    @classmethod
    def load(cls, name: str, device: torch.device, precision: str, most_tokens: int = 512) -> CrossEncoder:
        """The cross-encoder of a directory or a hub id.

        Raises :class:`UserError` for one that cannot be loaded and for a model that is no classifier of pairs.
        """
        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
        place = place_named(name)
        source, options = (str(place), {"local_files_only": True}) if place.is_dir() else (name, {})
        try:
            tokenizer = AutoTokenizer.from_pretrained(source, **options)
            model, info = _load(source, options)
        except Exception as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise UserError(f"{name} is no usable cross-encoder: {reason}") from error
        if missing := sorted(info["missing_keys"]):
            raise UserError(f"{name} is no cross-encoder: it has no weights for {missing[0]}")
        if model.config.num_labels not in (1, 2):
            raise UserError(
                f"{name} is no cross-encoder of relevance: it has {model.config.num_labels} outputs, not one or two"
            )
        longest = min(most_tokens, getattr(model.config, "max_position_embeddings", most_tokens))
        return cls(model.to(device).eval(), tokenizer, precision, longest)

    def probabilities(
        self, pairs: Sequence[tuple[str, str]], progress: Callable[[int], None] = lambda count: None
    ) -> Floats:
        """[n] probabilities that the passage of each (query, passage) is relevant, from 0 to 1, in their order."""
        found: Floats = np.empty(len(pairs), dtype=np.float32)
        for start in range(0, len(pairs), SORTED):
            block = pairs[start : start + SORTED]
            order = np.argsort([len(query) + len(passage) for query, passage in block], kind="stable")
            for some in np.split(order, range(AT_ONCE, len(order), AT_ONCE)):
                found[start + some] = self._batch([block[place] for place in some])
                progress(len(some))
        return found

    @torch.inference_mode()
    def _batch(self, pairs: Sequence[tuple[str, str]]) -> Floats:
        device = self.model.device
        queries, passages = map(list, zip(*pairs, strict=True))
        cut = {"truncation": True, "max_length": self.most_tokens}
        read = self.tokenizer(queries, passages, **cut, padding=True, return_tensors="pt")
        with autocast(self.precision, device):
            logits = self.model(**read.to(device)).logits.float()
        relevant = logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]
        probabilities: Floats = relevant.sigmoid().cpu().numpy()
        return probabilities


def _load(source: str, options: dict[str, Any]) -> tuple[PreTrainedModel, dict[str, Any]]:
    model, info = AutoModelForSequenceClassification.from_pretrained(
        source, dtype=torch.float32, output_loading_info=True, **options
    )
    return model, info
