"""The gradient of one batch: encode each distinct text once, compute the loss, and backpropagate.

With ``micro_batch`` the texts are encoded twice, in chunks, and only one chunk's activations are in memory at a
time (GradCache, Gao et al. 2021). The first pass gives the vectors, the loss gives their gradients, and the second
pass backpropagates those into the weights. The second pass restores the random state, which repeats the dropout, so
the gradient is that of the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.data.dataset import Ids
from bench.model.encoder import Encoded
from bench.model.packing import by_length, pack
from bench.model.precision import autocast
from bench.negatives import Drawn, NegativeSampler, View
from bench.train.batch import Surroundings
from bench.train.example_set import ExampleSet, Parts
from bench.train.groups import Asked
from bench.train.learner import Learner
from bench.train.queue import PassageQueue
from bench.train.telemetry import AnyBatch, observe
from bench.world import World
from strategies import Batch, LabelledBatch, Loss, Strategy

Chunks = list[NDArray[np.int64]]


@dataclass(frozen=True)
class Objective:
    """The training objective: a strategy, its examples, its negatives and the view of its guide."""

    strategy: Strategy
    examples: ExampleSet
    sampler: NegativeSampler
    view: View | None = None


class Stepper:
    """Computes losses and gradients of batches for one learner and objective.

    Batches are in ``groups`` that do not share negatives.
    """

    def __init__(
        self,
        learner: Learner,
        objective: Objective,
        precision: str,
        micro_batch: int | None = None,
        world: World | None = None,
        groups: int = 1,
    ) -> None:
        wanted = objective.strategy.negatives
        self.learner, self.objective = learner, objective
        self.precision, self.micro_batch, self.world = precision, micro_batch, world or World()
        self.queues = [PassageQueue(wanted.queue, wanted.warmup) for _ in range(groups)]
        self.around = [Surroundings(self.world, queue, objective.view, learner.head) for queue in self.queues]
        self.texts_encoded = 0

    def backward(
        self, rows: Ids, drawn: Drawn | None, step: int = 0, scale: float = 1.0, cached: bool | None = None
    ) -> tuple[AnyBatch, Loss]:
        """Add the gradient of the examples ``rows`` [n], times ``scale``; return the batch and its loss.

        ``drawn`` are the negatives sampled for them. The batch and the loss are those of all ranks, of which this
        one encodes its share; the gradient is the mean over ranks. ``cached`` (by default: when there is a
        ``micro_batch``) encodes twice to hold less; either way the chunks are the same.
        """
        request = Asked.of(self.objective.examples, rows, drawn, step, self.around)

        def loss_of(encoded: Encoded) -> tuple[AnyBatch, Loss]:
            found = request.groups_of(encoded, self._loss)
            if len(self.queues) > 1:
                return found, found.loss
            (only,) = found.groups
            return only.batch, only.loss

        size = self.micro_batch or max(1, request.texts)
        chunks = by_length(request.parts, size, slack=None if self.learner.encoder.packs else 1.5)
        if cached is None:
            cached = self.micro_batch is not None
        self.texts_encoded += int(self.world.sum(torch.tensor(request.texts * (2 if cached else 1))))
        done = (self._cached if cached else self._whole)(request.parts, chunks, loss_of, scale)
        self.world.average_gradients(self.learner.parameters())
        return done

    def _loss(self, batch: Batch | LabelledBatch) -> Loss:
        observe(batch)
        return check_loss(self.objective.strategy, self.objective.strategy.loss(batch))

    def _encode(self, parts: Parts, chunk: NDArray[np.int64]) -> Encoded:
        encoded: Encoded = self.learner(pack(parts, chunk))
        return encoded

    def _whole(
        self, parts: Parts, chunks: Chunks, loss_of: Callable[[Encoded], tuple[AnyBatch, Loss]], scale: float
    ) -> tuple[AnyBatch, Loss]:
        with autocast(self.precision, self.learner.device):
            encoded = [self._encode(parts, chunk) for chunk in chunks]
        batch, loss = loss_of(self._in_order(encoded, chunks))
        torch.autograd.backward(loss.value * scale)
        return batch, loss

    def _cached(
        self, parts: Parts, chunks: Chunks, loss_of: Callable[[Encoded], tuple[AnyBatch, Loss]], scale: float
    ) -> tuple[AnyBatch, Loss]:
        device = self.learner.device
        states, encoded = [], []
        with torch.no_grad(), autocast(self.precision, device):
            for chunk in chunks:
                states.append(random_state(device))
                encoded.append(self._encode(parts, chunk))
        after = random_state(device)
        leaves = self._in_order(encoded, chunks)
        for leaf in _parts_of(leaves):
            leaf.requires_grad_()
        batch, loss = loss_of(leaves)
        torch.autograd.backward(loss.value * scale)
        with autocast(self.precision, device):
            for chunk, state in zip(chunks, states, strict=True):
                set_random_state(state, device)
                again, rows = self._encode(parts, chunk), torch.from_numpy(chunk).to(device)
                pulled = zip(_parts_of(again), _parts_of(leaves), strict=True)
                found = [(values, leaf.grad[rows]) for values, leaf in pulled if leaf.grad is not None]
                torch.autograd.backward([v for v, _ in found], [g for _, g in found])
        set_random_state(after, device)
        return batch, loss

    def _in_order(self, encoded: list[Encoded], chunks: Chunks) -> Encoded:
        """The chunks' vectors in the order of the texts; of no text, as on a rank without examples, none."""
        device = self.learner.device
        if not chunks:
            nothing = torch.zeros(0, self.learner.encoder.dim, device=device, requires_grad=True)
            return Encoded(nothing, nothing.clone(), terms=None if self.learner.language is None else nothing[:, 0])
        order = np.concatenate(chunks)
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        rows = torch.from_numpy(place).to(device)
        unit, raw, *terms = (torch.cat(parts)[rows] for parts in zip(*map(_parts_of, encoded), strict=True))
        return Encoded(unit, raw, terms=terms[0] if terms else None)


def _parts_of(encoded: Encoded) -> list[Tensor]:
    """What a loss may use of n texts, each with a row a text."""
    return [part for part in (encoded.unit, encoded.raw, encoded.terms) if part is not None]


def check_loss(strategy: Strategy, loss: object) -> Loss:
    """``loss`` itself. Raises ``TypeError`` naming the strategy unless it is a :class:`Loss` of one term an example."""
    if not isinstance(loss, Loss):
        raise TypeError(f"loss() of strategy {strategy.name} returned {type(loss).__name__}; return Loss(per_example)")
    if loss.per_example.ndim != 1:
        shape = list(loss.per_example.shape)
        raise TypeError(f"loss() of strategy {strategy.name} has shape {shape}; return one term an example, [n]")
    return loss


def random_state(device: torch.device) -> list[Tensor]:
    """The state of every random generator that dropout on ``device`` uses."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def set_random_state(state: Sequence[Tensor], device: torch.device) -> None:
    """Restore a result of :func:`random_state`."""
    torch.set_rng_state(state[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state[1], device)
