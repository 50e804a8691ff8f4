"""The trained modules: an encoder, and the head of a strategy that declares one."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from bench.model.encoder import Encoded, Encoder
from bench.model.language import LanguageModelHead, generation_terms
from bench.model.packing import Packed
from bench.model.trial import check_targets
from strategies import Strategy


class Learner(nn.Module):
    """One set of parameters and one state for the optimiser, clipping, checkpoints and the choice of the best weights.

    The head belongs to the strategy of one stage; only the encoder is evaluated. The ``language`` head, which examples
    with targets train, goes on from stage to stage and is saved beside the encoder.
    """

    def __init__(
        self, encoder: Encoder, head: nn.Module | None = None, language: LanguageModelHead | None = None
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.language = language

    @classmethod
    def of(cls, encoder: Encoder, strategy: Strategy, seed: int, trained: LanguageModelHead | None = None) -> Learner:
        """``encoder`` with the heads of ``strategy``, whose new weights depend on ``seed``.

        ``trained`` is the language-model head of the stage before. Raises :class:`UserError` for an encoder that cannot
        be trained to generate, where the strategy does that.
        """
        torch.manual_seed(seed)
        head = strategy.head(encoder.dim)
        language = None
        if strategy.examples.generates:
            check_targets(encoder)
            language = trained or LanguageModelHead.of(encoder, seed)
        return cls(encoder, None if head is None else head.to(encoder.device), language)

    def forward(self, packed: Packed) -> Encoded:
        """The vectors of ``packed``, and with a language-model head the losses of generating the targets."""
        encoded: Encoded = self.encoder(packed, tokens=self.language is not None)
        if self.language is None or encoded.tokens is None:
            return encoded
        terms = generation_terms(self.language, self.encoder, encoded.tokens, packed)
        return replace(encoded, tokens=None, terms=terms)

    @property
    def device(self) -> torch.device:
        return self.encoder.device
