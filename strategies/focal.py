"""A cross-entropy that queries which are ranked well hardly count in."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from strategies.base import knob, register
from strategies.batch import Batch, Loss
from strategies.losses import cross_entropy
from strategies.mined_hard import MinedHard


@register("focal")
@dataclass(frozen=True)
class Focal(MinedHard):
    """Cross-entropy times the focal weight, which is small where the positive is already likely.

    ``L_i = (1 - p_i)^g * -log p_i`` with ``p_i = exp(s c_ip) / sum_j exp(s c_ij)`` over the passages of
    :class:`strategies.mined_hard.MinedHard`, which it equals where ``g`` (``exponent``) is 0. The weight has gradient.

    Source: KaLM-Embedding-V2 (Zhao et al. 2025). It does not give the exponent; the default is that of the focal loss
    (Lin et al. 2017).

    Published with: seven mined negatives of ranks 50 to 100. The scale is that of
    :class:`strategies.mined_hard.MinedHard`, not KaLM's.
    """

    mechanism = "was a weight below 1; set strategy.exponent above 0"

    n: int = knob(7, low=1, high=15, log=True, least=1, source="KaLM-V2: seven hard negatives")
    first: int = knob(50, low=0, high=50, least=0, source="KaLM-V2: ranks 50 to 100")
    last: int = knob(100, low=60, high=500, log=True, least=1, source="KaLM-V2: ranks 50 to 100")
    exponent: float = knob(2.0, low=0.0, high=4.0, least=0, source="Lin et al. gamma 2; KaLM-V2 gives none")

    def loss(self, batch: Batch) -> Loss:
        entropy = cross_entropy(batch, self.scale, local=self.local)
        unlikely = -torch.expm1(-entropy)  # 1 - p, exact where p is near 1
        # At 0 itself the power has no finite gradient for exponents below 1.
        weight = unlikely.clamp(min=1e-12).pow(self.exponent)
        return Loss(weight * entropy, acted=weight.detach() < 1)
