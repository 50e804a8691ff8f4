"""Passages of earlier batches, kept as further negatives without encoding them again."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class PassageQueue:
    """The last ``size`` passages and their embeddings, newest first; none are recalled in the first ``warmup`` steps.

    Each passage is in it once, with its newest embedding.
    """

    def __init__(self, size: int, warmup: int) -> None:
        self.size, self.warmup, self.steps = size, warmup, 0
        self.ids: Tensor = torch.zeros(0, dtype=torch.long)
        self.vectors: Tensor | None = None

    def recall(self) -> tuple[Tensor, Tensor] | None:
        """Passage ids [M] and embeddings [M, d] without gradient, or None while there are none."""
        if self.vectors is None or self.steps < self.warmup:
            return None
        return self.ids, self.vectors

    def keep(self, ids: Tensor, vectors: Tensor) -> None:
        """Add a batch: distinct passage ids [C] and their embeddings [C, d]."""
        self.steps += 1
        if not self.size:
            return
        vectors = vectors.detach()
        if self.vectors is not None:
            old = ~torch.isin(self.ids, ids)
            ids = torch.cat([ids, self.ids[old]])
            vectors = torch.cat([vectors, self.vectors[old]])
        self.ids, self.vectors = ids[: self.size].clone(), vectors[: self.size].clone()

    def state(self) -> dict[str, Any]:
        """The state for a checkpoint."""
        return {"steps": self.steps, "ids": self.ids, "vectors": self.vectors}

    def restore(self, state: dict[str, Any], device: torch.device) -> None:
        """Restore a result of :meth:`state`."""
        self.steps, self.ids, vectors = state["steps"], state["ids"].to(device), state["vectors"]
        self.vectors = None if vectors is None else vectors.to(device)
