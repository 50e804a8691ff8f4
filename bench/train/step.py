"""The gradient of one batch: encode each distinct text once, put the loss on it, go back.

With ``micro_batch`` the texts are encoded twice, in chunks, and only one chunk's activations are held at a
time (GradCache, Gao et al. 2021): the first pass gives the embeddings, the loss gives their gradients, the
second pass carries those into the weights. Dropout repeats itself in the second pass because the random state
does, so the gradient is that of the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.data.dataset import Ids
from bench.model.encoder import Encoder
from bench.model.packing import by_length, pack
from bench.model.precision import autocast
from bench.negatives import View
from bench.train.gather import Embedded, Gather, alone, to_batch
from bench.train.material import Material, Parts
from bench.train.memory import Memory
from strategies import Batch, Loss, Strategy


class Stepper:
    """Computes losses and gradients of batches for one encoder, strategy and material."""

    def __init__(
        self,
        encoder: Encoder,
        strategy: Strategy,
        material: Material,
        precision: str,
        micro_batch: int | None = None,
        gather: Gather = alone,
        view: View | None = None,
    ) -> None:
        self.encoder, self.strategy, self.material = encoder, strategy, material
        self.precision, self.micro_batch, self.gather, self.view = precision, micro_batch, gather, view
        self.memory = Memory(strategy.negatives.queue, strategy.negatives.warmup)
        self.texts_encoded = 0

    def backward(
        self,
        query_ids: Ids,
        positive_ids: Ids,
        own_ids: Ids | None,
        step: int = 0,
        scale: float = 1.0,
        cached: bool | None = None,
    ) -> tuple[Batch, Loss]:
        """Add this batch's gradient, times ``scale``, to the encoder's; return what the loss saw and said.

        ``query_ids`` and ``positive_ids`` [Q], ``own_ids`` [Q, n] or None; what the material draws at random
        follows from ``step``. ``cached`` (by default: when there
        is a ``micro_batch``) encodes twice to hold less; either way the chunks are the same.
        """
        drawn = positive_ids if own_ids is None else np.concatenate([positive_ids, own_ids.ravel()])
        passages = np.unique(drawn)
        queries, place = np.unique(query_ids, return_inverse=True)
        parts = self.material.parts(queries, passages, step)

        def loss_of(vectors: Tensor) -> tuple[Batch, Loss]:
            own = None if own_ids is None else torch.from_numpy(own_ids)
            mine = Embedded(
                vectors[: len(queries)][torch.from_numpy(place).to(vectors.device)],
                vectors[len(queries) :],
                torch.from_numpy(query_ids),
                torch.from_numpy(positive_ids),
                torch.from_numpy(passages),
                own,
            )
            batch = to_batch(mine, self.material.pairs, self.gather, self.memory, self.view)
            batch.similarity.retain_grad()  # tells how many negatives pull, see telemetry
            return batch, self.strategy.loss(batch)

        size = self.micro_batch or len(queries) + len(passages)
        chunks = by_length(parts, size, slack=None if self.encoder.packs else 1.5)
        if cached is None:
            cached = self.micro_batch is not None
        self.texts_encoded += (len(queries) + len(passages)) * (2 if cached else 1)
        return (self._cached if cached else self._whole)(parts, chunks, loss_of, scale)

    def _encode(self, parts: Parts, chunk: NDArray[np.int64]) -> Tensor:
        vectors: Tensor = self.encoder(pack(parts, chunk))
        return vectors

    def _whole(
        self,
        parts: Parts,
        chunks: list[NDArray[np.int64]],
        loss_of: Callable[[Tensor], tuple[Batch, Loss]],
        scale: float,
    ) -> tuple[Batch, Loss]:
        with autocast(self.precision, self.encoder.device):
            vectors = [self._encode(parts, chunk) for chunk in chunks]
        batch, loss = loss_of(_in_order(vectors, chunks))
        torch.autograd.backward(loss.value * scale)
        return batch, loss

    def _cached(
        self,
        parts: Parts,
        chunks: list[NDArray[np.int64]],
        loss_of: Callable[[Tensor], tuple[Batch, Loss]],
        scale: float,
    ) -> tuple[Batch, Loss]:
        states, vectors = [], []
        with torch.no_grad(), autocast(self.precision, self.encoder.device):
            for chunk in chunks:
                states.append(random_state(self.encoder.device))
                vectors.append(self._encode(parts, chunk))
        after = random_state(self.encoder.device)
        leaf = _in_order(vectors, chunks).requires_grad_()
        batch, loss = loss_of(leaf)
        torch.autograd.backward(loss.value * scale)
        assert leaf.grad is not None
        with autocast(self.precision, self.encoder.device):
            for chunk, state in zip(chunks, states, strict=True):
                set_random_state(state, self.encoder.device)
                gradient = leaf.grad[torch.from_numpy(chunk).to(leaf.device)]
                torch.autograd.backward(self._encode(parts, chunk), gradient)
        set_random_state(after, self.encoder.device)
        return batch, loss


def _in_order(vectors: list[Tensor], chunks: list[NDArray[np.int64]]) -> Tensor:
    """[n, d] the chunks' vectors in the order of the texts."""
    order = np.concatenate(chunks)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return torch.cat(vectors)[torch.from_numpy(place).to(vectors[0].device)]


def random_state(device: torch.device) -> list[Tensor]:
    """The state of every generator that dropout on ``device`` draws from."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def set_random_state(state: Sequence[Tensor], device: torch.device) -> None:
    """Put back what :func:`random_state` gave."""
    torch.set_rng_state(state[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state[1], device)
