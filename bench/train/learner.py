"""The trained modules: an encoder, and the head of a strategy that declares one."""

from __future__ import annotations

import torch
from torch import nn

from bench.model.encoder import Encoder
from strategies import Strategy


class Learner(nn.Module):
    """One set of parameters and one state for the optimiser, clipping, checkpoints and the choice of the best weights.

    The head belongs to the strategy of one stage. Only the encoder is evaluated, saved and used.
    """

    def __init__(self, encoder: Encoder, head: nn.Module | None = None) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    @classmethod
    def of(cls, encoder: Encoder, strategy: Strategy, seed: int) -> Learner:
        """``encoder`` with the head of ``strategy``, whose new weights depend on ``seed``."""
        torch.manual_seed(seed)
        head = strategy.head(encoder.dim)
        return cls(encoder, None if head is None else head.to(encoder.device))

    @property
    def device(self) -> torch.device:
        return self.encoder.device
