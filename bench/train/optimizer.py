"""AdamW with the field's decay groups, and the learning rate's schedules."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

SCHEDULES = ("linear", "constant")


def adamw(parameters: Iterable[nn.Parameter], lr: float, weight_decay: float) -> torch.optim.AdamW:
    """Fused AdamW; biases and norms (parameters of fewer than two dimensions) are not decayed."""
    trained = [p for p in parameters if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=lr, fused=True)


def lr_at(step: float, total: float, lr: float, warmup: float, schedule: str = "linear") -> float:
    """Learning rate of ``step`` (from 0) of ``total``: linearly up over the warm-up, then as ``schedule`` says.

    ``linear`` falls to zero: beyond ``total``, as after a last search for negatives, it is 0. ``constant`` stays.
    ``warmup`` below 1 is a share of ``total``, else a number of steps. The first step already learns. Both may
    count anything else that training spends.
    """
    warm = warmup_steps(warmup, total)
    if step < warm:
        return lr * (step + 1) / (warm + 1)
    if schedule == "constant":
        return lr
    return lr * max(0.0, total - step) / max(1, total - warm)


def warmup_steps(warmup: float, total: float) -> int:
    """The length of the warm-up in what ``total`` counts; ``warmup`` is as in :func:`lr_at`."""
    return int(warmup * total) if warmup < 1 else int(warmup)
