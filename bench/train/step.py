"""The gradient of one batch: encode each distinct text once, compute the loss, and backpropagate.

With ``micro_batch`` the texts are encoded twice, in chunks, and only one chunk's activations are in memory at a
time (GradCache, Gao et al. 2021). The first pass gives the vectors, the loss gives their gradients, and the second
pass backpropagates those into the weights. Its dropout is that of the first pass, so the gradient is that of the whole
batch.

On a CPU each chunk is split into as many parts as there are workers, and each part has a thread of its own. Gradients
are added in the order of the parts, so equal numbers of workers give equal bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench import cores
from bench.data.dataset import Ids
from bench.model.cpu.dropout import masks_from
from bench.model.cpu.workers import share_out
from bench.model.encoder import Encoded
from bench.model.packing import by_length, equal_parts, pack
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


@dataclass(frozen=True)
class _Part:
    """Texts that one worker encodes together, and what their dropout follows from."""

    texts: NDArray[np.int64]
    seed: int


Waves = list[list[_Part]]
"""Parts that are worked on at the same time, one wave after the other."""


@dataclass(frozen=True)
class Objective:
    """The training objective: a strategy, its examples, its negatives and the view of its guide.

    ``cluster`` [n] is that of each example where batches are not random.
    """

    strategy: Strategy
    examples: ExampleSet
    sampler: NegativeSampler
    view: View | None = None
    cluster: Ids | None = None


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
        # Checkpointed activations are computed again with the dropout of torch's own generator.
        recomputes = any(getattr(module, "gradient_checkpointing", False) for module in learner.encoder.modules())
        self.splits = learner.encoder.splits and not recomputes
        self.workers = cores.count() if self.splits else 1

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
        with autocast(self.precision, self.learner.device):
            packs = self.learner.encoder.packs_now(any(tokens.sources is not None for tokens, _ in request.parts))
        chunks = by_length(request.parts, size, slack=None if packs else 1.5)
        waves = [
            [_Part(texts, seed + n) for n, texts in enumerate(equal_parts(request.parts, chunk, self.workers))]
            for chunk, seed in zip(chunks, torch.randint(2**62, (len(chunks),)).tolist(), strict=True)
        ]
        again = self.micro_batch is not None if cached is None else cached
        self.texts_encoded += int(self.world.sum(torch.tensor(request.texts * (2 if again else 1))))
        done = self._backward(request.parts, waves, loss_of, scale, again)
        self.world.average_gradients(self.learner.parameters())
        return done

    def _loss(self, batch: Batch | LabelledBatch) -> Loss:
        observe(batch)
        return check_loss(self.objective.strategy, self.objective.strategy.loss(batch))

    def _backward(
        self, texts: Parts, waves: Waves, loss_of: Callable[[Encoded], tuple[AnyBatch, Loss]], scale: float, again: bool
    ) -> tuple[AnyBatch, Loss]:
        """Encode all parts, compute the loss of their vectors, and backpropagate part by part.

        ``again`` keeps no activations and encodes a second time. The gradients of a wave's parts are added in order.
        """
        with torch.set_grad_enabled(not again):
            encoded = [share_out(lambda part: self._encode(texts, part), wave, self.workers) for wave in waves]
        leaves = self._in_order([e for wave in encoded for e in wave], [part.texts for wave in waves for part in wave])
        for leaf in _values_of(leaves):
            leaf.requires_grad_()
        batch, loss = loss_of(leaves)
        torch.autograd.backward(loss.value * scale)
        weights = [p for p in self.learner.parameters() if p.requires_grad]
        wanted = [leaf.grad for leaf in _values_of(leaves)]
        for wave, kept in zip(waves, encoded, strict=True):

            def gradients(one: tuple[_Part, Encoded]) -> Sequence[Tensor | None]:
                part, before = one
                values = _values_of(self._encode(texts, part) if again else before)
                rows = torch.from_numpy(part.texts).to(self.learner.device)
                return _pulled(values, wanted, rows, weights)

            for found in share_out(gradients, list(zip(wave, kept, strict=True)), self.workers):
                _add(weights, found)
            kept.clear()
        return batch, loss

    def _encode(self, texts: Parts, part: _Part) -> Encoded:
        """The vectors of a part; the same dropout each time."""
        with autocast(self.precision, self.learner.device), self._dropout(part.seed):
            encoded: Encoded = self.learner(pack(texts, part.texts))
        return encoded

    @contextmanager
    def _dropout(self, seed: int) -> Iterator[None]:
        """Dropout within the block follows from ``seed``; the random state is as before afterwards."""
        if self.splits:
            with masks_from(seed):
                yield
        else:
            device = self.learner.device
            with torch.random.fork_rng([device] if device.type == "cuda" else []):
                torch.manual_seed(seed)
                yield

    def _in_order(self, encoded: list[Encoded], texts: list[NDArray[np.int64]]) -> Encoded:
        """The parts' vectors in the order of the texts, without their graph; of no text, as on a rank without examples,
        none."""
        device = self.learner.device
        if not texts:
            nothing = torch.zeros(0, self.learner.encoder.dim, device=device)
            return Encoded(nothing, nothing.clone(), terms=None if self.learner.language is None else nothing[:, 0])
        order = np.concatenate(texts)
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        rows = torch.from_numpy(place).to(device)
        unit, raw, *terms = (torch.cat(parts).detach()[rows] for parts in zip(*map(_values_of, encoded), strict=True))
        return Encoded(unit, raw, terms=terms[0] if terms else None)


def _values_of(encoded: Encoded) -> list[Tensor]:
    """What a loss may use of n texts, each with a row a text."""
    return [part for part in (encoded.unit, encoded.raw, encoded.terms) if part is not None]


def _pulled(
    values: list[Tensor], gradients: list[Tensor | None], rows: Tensor, weights: list[nn.Parameter]
) -> Sequence[Tensor | None]:
    """The gradients of the weights, from the rows of those of the values; None where one has none."""
    found = [(value, grad[rows]) for value, grad in zip(values, gradients, strict=True) if grad is not None]
    outputs, grads = [value for value, _ in found], [grad for _, grad in found]
    return torch.autograd.grad(outputs, weights, grads, allow_unused=True)


def _add(weights: list[nn.Parameter], gradients: Sequence[Tensor | None]) -> None:
    """Add gradients to those that the weights have."""
    for weight, grad in zip(weights, gradients, strict=True):
        if grad is not None:
            weight.grad = grad if weight.grad is None else weight.grad.add_(grad)


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
