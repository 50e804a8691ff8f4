"""The one training loop. Every strategy goes through it; nothing in it knows which."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from bench.data.order import batch_rows, steps_per_epoch
from bench.data.pairs import Pairs
from bench.data.tokens import Tokens
from bench.errors import UserError
from bench.model.encoder import Encoder, Narrowed
from bench.negatives import Source
from bench.train import checkpoint
from bench.train.config import TrainConfig
from bench.train.gather import Gather, alone
from bench.train.optimizer import adamw, lr_at
from bench.train.step import Stepper, random_state, set_random_state
from bench.train.telemetry import measure
from strategies import Strategy

COLLAPSED = 1e-4  # spread of cosines; float32 cosines of equal vectors differ by less


class TrainingStopped(UserError):
    """Training cannot go on: the loss or its gradient is not finite, or all embeddings have become one."""


@dataclass
class Progress:
    """How far training is, and what it has cost so far; part of every checkpoint."""

    step: int = 0
    pairs: int = 0
    texts: int = 0
    seconds: float = 0.0
    best_step: int | None = None
    best_value: float | None = None


@dataclass(frozen=True)
class Hooks:
    """What the loop tells the outside. ``event`` gets a history row, ``progress`` (step, total, pairs/s).

    ``evaluate`` searches the dev set with the encoder as it is and gives metrics in percent, of which
    ``selection`` decides which weights are kept; None trains without evaluation.
    """

    event: Callable[[dict[str, Any]], None] = lambda row: None
    progress: Callable[[int, int, float], None] = lambda step, total, rate: None
    evaluate: Callable[[], dict[str, float]] | None = None
    selection: str = "exact/mrr@10"
    resumed: Callable[[int], None] = lambda step: None


@dataclass
class Trainer:
    """Trains ``encoder`` with ``strategy`` on ``pairs``; :meth:`fit` runs or resumes.

    ``precision`` is resolved (``bf16``, ``fp16``, ``fp32``). State is kept in ``directory``: ``last.pt`` for
    a resume, ``best.pt`` with the weights that did best on dev.
    """

    encoder: Encoder
    strategy: Strategy
    pairs: Pairs
    queries: Tokens
    passages: Tokens
    source: Source
    config: TrainConfig
    precision: str
    seed: int
    directory: Path
    hooks: Hooks = field(default_factory=Hooks)
    gather: Gather = alone

    @property
    def total(self) -> int:
        """Optimiser steps of the whole run."""
        steps = self.config.epochs * steps_per_epoch(len(self.pairs), self.config.batch_size)
        return steps if self.config.max_steps is None else min(steps, self.config.max_steps)

    def fit(self) -> Progress:
        """Train to the end, from the last checkpoint where there is one; leaves the best weights in place.

        Raises :class:`TrainingStopped` at a non-finite loss or a collapse, :class:`UserError` when there is
        nothing to train on or the disk refuses.
        """
        if self.config.epochs == 0 or self.config.max_steps == 0:
            return Progress()
        if len(self.pairs) == 0:
            raise UserError("there is no training pair: the data set has no train split, or it is empty")
        if self.config.recompute:
            self.encoder.transformer.gradient_checkpointing_enable({"use_reentrant": False})
        try:
            with self.encoder.narrowed(self._tokens_in_use()) as narrowed:
                done = self._run(narrowed)
        finally:
            if self.config.recompute:
                self.encoder.transformer.gradient_checkpointing_disable()
        if done.best_step is not None and done.best_step != done.step:
            self.encoder.load_state_dict(checkpoint.read(self.directory / "best.pt")["encoder"])
        return done

    def _tokens_in_use(self) -> np.ndarray:
        """Ids of every token a training text can have: of the pairs, and of all that can be sampled."""
        texts = [(self.queries, np.unique(self.pairs.query)), (self.passages, self.source.reach(self.pairs))]
        return np.unique(np.concatenate([t.take(rows) for t, rows in texts]))

    def _run(self, narrowed: Narrowed) -> Progress:
        config, encoder, total = self.config, self.encoder, self.total
        encoder.train()
        torch.manual_seed(self.seed)
        optimizer = adamw(encoder.parameters(), config.lr, config.weight_decay)
        scaler = torch.amp.GradScaler(encoder.device.type, enabled=self.precision == "fp16")
        done, window = Progress(), Window()
        last = self.directory / "last.pt"
        if last.exists():
            done = self._restore(checkpoint.read(last), narrowed, optimizer, scaler, window)
        self.hooks.resumed(done.step)
        stepper = Stepper(
            encoder,
            self.strategy,
            self.pairs,
            self.queries,
            self.passages,
            self.precision,
            config.micro_batch,
            self.gather,
        )
        stepper.texts_encoded = done.texts
        before, since = done.seconds, perf_counter()
        while done.step < total:
            lr = lr_at(done.step, total, config.lr, config.warmup)
            for group in optimizer.param_groups:
                group["lr"] = lr
            rows = batch_rows(len(self.pairs), config.batch_size, self.seed, done.step)
            query_ids = self.pairs.query[rows]
            own = self.source.draw(query_ids, done.step)
            scale = float(scaler.scale(torch.ones((), device=encoder.device)))
            batch, loss = stepper.backward(query_ids, self.pairs.positive[rows], own, scale)
            self._stop_unless_finite("loss", loss.value, done.step + 1)
            scaler.unscale_(optimizer)
            norm = torch.nn.utils.clip_grad_norm_(encoder.parameters(), config.clip or torch.inf)
            if not scaler.is_enabled():  # which meets such gradients now and then, and skips their step
                self._stop_unless_finite("gradient", norm, done.step + 1)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            narrowed.unused_decay *= 1 - lr * config.weight_decay
            done.step += 1
            done.pairs += len(rows)
            done.texts = stepper.texts_encoded
            done.seconds = before + perf_counter() - since
            window.add({"loss": loss.value.detach(), "gradient_norm": norm, **measure(batch, loss)})
            if done.step % config.log_every == 0 or done.step == total:
                row = window.means()
                self.hooks.event({"step": done.step, "lr": lr, **row})
                if row["spread"] < COLLAPSED:
                    raise TrainingStopped(
                        f"all embeddings have become one by step {done.step} (the cosines of a query differ by "
                        f"{row['spread']:.1e}); lower train.lr={config.lr:g}"
                    )
            self.hooks.progress(done.step, total, done.pairs / max(done.seconds, 1e-9))
            evaluated = self._evaluate_if_due(done, narrowed)
            if done.step % config.save_every == 0 or done.step == total or evaluated:
                checkpoint.write(last, self._state(done, narrowed, optimizer, scaler, window))
            since = perf_counter()
            before = done.seconds
        return done

    def _stop_unless_finite(self, what: str, value: torch.Tensor, step: int) -> None:
        if not np.isfinite(value.item()):
            raise TrainingStopped(
                f"the {what} became {value.item()} at step {step}; lower train.lr={self.config.lr:g}, or use "
                f"train.precision=fp32 (it is {self.precision})"
            )

    def _evaluate_if_due(self, done: Progress, narrowed: Narrowed) -> bool:
        """Search the dev set when it is time, keep the weights if they are the best so far."""
        every = self.config.eval_every
        if every is None:
            every = steps_per_epoch(len(self.pairs), self.config.batch_size)
        due = every and (done.step % every == 0 or done.step == self.total)
        if self.hooks.evaluate is None or not due:
            return False
        with narrowed.widened():
            metrics = self.hooks.evaluate()
            value = metrics[self.hooks.selection]
            if done.best_value is None or value > done.best_value:
                done.best_step, done.best_value = done.step, value
                checkpoint.write(self.directory / "best.pt", {"encoder": self.encoder.state_dict()})
        self.hooks.event({"step": done.step, **{f"dev/{name}": v for name, v in metrics.items()}})
        return True

    def _state(
        self,
        done: Progress,
        narrowed: Narrowed,
        optimizer: torch.optim.AdamW,
        scaler: torch.amp.GradScaler,
        window: Window,
    ) -> dict[str, Any]:
        return {
            "progress": asdict(done),
            "encoder": self.encoder.state_dict(),
            "unused_decay": narrowed.unused_decay,
            "optimizer": optimizer.state_dict(),
            "scaler": scaler.state_dict(),
            "random": random_state(self.encoder.device),
            "window": vars(window),
        }

    def _restore(
        self,
        state: dict[str, Any],
        narrowed: Narrowed,
        optimizer: torch.optim.AdamW,
        scaler: torch.amp.GradScaler,
        window: Window,
    ) -> Progress:
        self.encoder.load_state_dict(state["encoder"])
        narrowed.unused_decay = state["unused_decay"]
        optimizer.load_state_dict(state["optimizer"])
        scaler.load_state_dict(state["scaler"])
        set_random_state(state["random"], self.encoder.device)
        window.sums, window.count = state["window"]["sums"], state["window"]["count"]
        return Progress(**state["progress"])


class Window:
    """Means of scalars over the steps since they were last asked for."""

    def __init__(self) -> None:
        self.sums: dict[str, torch.Tensor] = {}
        self.count = 0

    def add(self, row: dict[str, torch.Tensor]) -> None:
        for name, value in row.items():
            self.sums[name] = self.sums.get(name, 0) + value
        self.count += 1

    def means(self) -> dict[str, float]:
        means = {name: float(value) / self.count for name, value in self.sums.items()}
        self.sums, self.count = {}, 0
        return means
