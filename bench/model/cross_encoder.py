"""Cross-encoders: models that read a query and a passage together and say how likely the passage answers the query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from bench.data.dataset import Floats
from bench.errors import UserError, first_line
from bench.model.loading import check_vocabulary, quiet
from bench.model.positions import most_tokens
from bench.model.precision import autocast
from bench.setting import place_named

MOST_TOKENS = 512
AT_ONCE = 32  # pairs in a batch


@dataclass(frozen=True)
class CrossEncoder:
    """A classifier of pairs of texts, with one output (its logit) or two (irrelevant and relevant).

    ``most_tokens`` of both texts together are read.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    precision: str
    most_tokens: int

    @classmethod
    def load(cls, name: str, device: torch.device, precision: str) -> CrossEncoder:
        """The cross-encoder of a directory or a hub id. It reads as many tokens as it has positions for, at most 512.

        Raises :class:`UserError` for one that cannot be loaded and for a model that is no classifier of pairs.
        """
        quiet()
        place = place_named(name)
        if not place.is_dir() and (name.startswith((".", "/", "~")) or name.count("/") != 1):
            raise UserError(f"{name}: there is no such directory, and a hub id is OWNER/NAME")
        source, local = (str(place), True) if place.is_dir() else (name, False)
        try:
            tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=local)
            check_vocabulary(tokenizer)
            model, info = AutoModelForSequenceClassification.from_pretrained(
                source, dtype=torch.float32, output_loading_info=True, local_files_only=local
            )
        except Exception as error:
            raise UserError(f"{name} is no usable cross-encoder: {first_line(error)}") from error
        if missing := sorted(info["missing_keys"]):
            raise UserError(f"{name} is no cross-encoder: it has no weights for {missing[0]}")
        if model.config.num_labels not in (1, 2):
            raise UserError(
                f"{name} is no cross-encoder of relevance: it has {model.config.num_labels} outputs, not one or two"
            )
        if not all(weight.isfinite().all() for weight in model.state_dict().values()):
            raise UserError(f"{name} is no usable cross-encoder: it has weights that are not finite")
        longest = min(MOST_TOKENS, tokenizer.model_max_length, most_tokens(model) or MOST_TOKENS)
        return cls(model.to(device).eval(), tokenizer, precision, longest)

    def truncated(self, pairs: Sequence[tuple[str, str]]) -> int:
        """How many of the pairs have more tokens than are read."""
        queries, passages = map(list, zip(*pairs, strict=True))
        return sum(len(ids) > self.most_tokens for ids in self.tokenizer(queries, passages)["input_ids"])

    def probabilities(self, pairs: Sequence[tuple[str, str]]) -> Floats:
        """[n] probabilities that the passage of each (query, passage) is relevant, from 0 to 1, in their order."""
        found: Floats = np.empty(len(pairs), dtype=np.float32)
        order = np.argsort([len(query) + len(passage) for query, passage in pairs], kind="stable")
        for some in np.split(order, range(AT_ONCE, len(order), AT_ONCE)):
            found[some] = self._batch([pairs[place] for place in some])
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
