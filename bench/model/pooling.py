"""From hidden states of tokens to one vector a text. Definitions are those of Sentence Transformers."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bench.model.packing import Packed


def pool(pooling: str, states: Tensor, packed: Packed, skip_prompt: bool = False) -> Tensor:
    """[n, hidden * parts] one vector a text, from ``states`` [T, hidden], for poolings joined by ``+``.

    With ``skip_prompt`` the tokens of the prefix are left out; a text keeps at least its last token.
    """
    skipped = np.zeros_like(packed.lengths)
    if skip_prompt and packed.prompts is not None:
        skipped = np.minimum(packed.prompts, packed.lengths - 1)
    pooled = [_pool(name, states, packed, skipped) for name in pooling.split("+")]
    return pooled[0] if len(pooled) == 1 else torch.cat([part.float() for part in pooled], dim=1)


def _pool(name: str, states: Tensor, packed: Packed, skipped: np.ndarray) -> Tensor:
    device = states.device
    if name == "cls":
        return states[torch.from_numpy(packed.starts + skipped).to(device)]
    if name == "lasttoken":
        return states[torch.from_numpy(packed.starts + packed.lengths - 1).to(device)]
    text = torch.from_numpy(packed.text_of_token).to(device)
    states, weights = states.float(), None
    positions = packed.positions
    if skipped.any():
        kept = torch.from_numpy(np.flatnonzero(positions >= skipped[packed.text_of_token]))
        text, states, positions = text[kept.to(device)], states[kept.to(device)], positions[kept.numpy()]
    shape = (len(packed.lengths), states.shape[1])
    if name == "max":
        lowest = torch.full(shape, -torch.inf, device=device)
        return lowest.scatter_reduce(0, text[:, None].expand_as(states), states, "amax")
    count = torch.from_numpy(packed.lengths - skipped).to(device)[:, None]
    if name == "weightedmean":
        weights = torch.from_numpy(positions + 1).to(device)[:, None].float()
        count = torch.zeros(shape[0], 1, device=device).index_add(0, text, weights)
    total = torch.zeros(shape, device=device).index_add(0, text, states if weights is None else states * weights)
    return total / (count.sqrt() if name == "mean_sqrt_len_tokens" else count)
