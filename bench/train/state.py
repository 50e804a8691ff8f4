"""The content of a checkpoint: the progress of training, and everything that determines its continuation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from bench.model.narrowing import Narrowed
from bench.train.learner import Learner
from bench.train.queue import PassageQueue
from bench.train.step import random_state, set_random_state
from bench.world import World


@dataclass
class Progress:
    """The progress of training, with its cost, telemetry and warnings so far.

    ``mine_s`` and ``mine_texts`` are what searches during training cost, up to that before the step ``refreshed``.
    ``totals`` holds sum and count of every scalar of telemetry over all steps; ``warnings`` are for the user.
    """

    step: int = 0
    pairs: int = 0
    texts: int = 0
    seconds: float = 0.0
    mine_s: float = 0.0
    mine_texts: int = 0
    refreshed: int | None = None
    best_step: int | None = None
    best_value: float | None = None
    totals: dict[str, tuple[float, int]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def means(self) -> dict[str, float]:
        """The mean of every scalar of telemetry over the steps that have it."""
        return {name: value / count for name, (value, count) in self.totals.items()}


class Window:
    """Means of scalars over the steps since the last call of :meth:`means`."""

    def __init__(self) -> None:
        self.sums: dict[str, torch.Tensor] = {}
        self.counts: dict[str, int] = {}

    def add(self, row: dict[str, torch.Tensor]) -> None:
        for name, value in row.items():
            self.sums[name] = self.sums.get(name, 0) + value
            self.counts[name] = self.counts.get(name, 0) + 1

    def means(self, totals: dict[str, tuple[float, int]]) -> dict[str, float]:
        """The mean of each scalar over the steps that have it; sums and counts are added to ``totals``."""
        sums = {name: float(value) for name, value in self.sums.items()}
        for name, value in sums.items():
            before, count = totals.get(name, (0.0, 0))
            totals[name] = (before + value, count + self.counts[name])
        means = {name: value / self.counts[name] for name, value in sums.items()}
        self.sums, self.counts = {}, {}
        return means


@dataclass(frozen=True)
class State:
    """The parts of a training run that change from step to step."""

    progress: Progress
    learner: Learner
    table: Narrowed
    optimizer: torch.optim.AdamW
    scaler: torch.amp.GradScaler
    window: Window
    queues: Sequence[PassageQueue]
    world: World

    def write(self) -> dict[str, Any]:
        """Everything as plain values and tensors, the random states of all ranks among them."""
        return {
            "progress": asdict(self.progress),
            "learner": self.learner.state_dict(),
            "unused_decay": self.table.unused_decay,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": [self.world.gather(state) for state in random_state(self.learner.device)],
            "window": vars(self.window),
            "queues": [queue.state() for queue in self.queues],
        }

    def read(self, state: dict[str, Any]) -> None:
        """Restore a result of :meth:`write`."""
        vars(self.progress).update(state["progress"])
        self.learner.load_state_dict(state["learner"])
        self.table.unused_decay = state["unused_decay"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        set_random_state([ranks[self.world.rank] for ranks in state["random"]], self.learner.device)
        vars(self.window).update(state["window"])
        for queue, kept in zip(self.queues, state.get("queues") or [state["queue"]], strict=True):  # one, once
            queue.restore(kept, self.learner.device)
