"""The one training loop. Every strategy goes through it; nothing in it knows which."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from bench.data.order import batch_rows, steps_per_epoch
from bench.errors import UserError
from bench.model.encoder import Encoder, Narrowed
from bench.negatives import Source, View
from bench.train import checkpoint
from bench.train.budget import Plan
from bench.train.complaints import complaints
from bench.train.config import TrainConfig
from bench.train.gather import Gather, alone
from bench.train.material import Material
from bench.train.optimizer import adamw, lr_at
from bench.train.state import Progress, State, Window
from bench.train.step import Stepper
from bench.train.telemetry import measure
from strategies import Strategy

log = logging.getLogger(__name__)

COLLAPSED = 1e-4  # spread of cosines; float32 cosines of equal vectors differ by less


class TrainingStopped(UserError):
    """Training cannot go on: the loss or its gradient is not finite, or all embeddings have become one."""


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
    """Trains ``encoder`` with ``strategy`` on ``material``; :meth:`fit` runs or resumes.

    ``precision`` is resolved (``bf16``, ``fp16``, ``fp32``). State is kept in ``directory``: ``last.pt`` for
    a resume, ``best.pt`` with the weights that did best on dev.
    """

    encoder: Encoder
    strategy: Strategy
    material: Material
    source: Source
    config: TrainConfig
    precision: str
    seed: int
    directory: Path
    hooks: Hooks = field(default_factory=Hooks)
    gather: Gather = alone
    view: View | None = None
    plan: Plan | None = None

    @property
    def ends(self) -> Plan:
        """When training ends: by its own plan, else after the epochs and steps of ``config``."""
        return self.plan or Plan("steps", total_steps(self.config, len(self.material.pairs)))

    def fit(self) -> Progress:
        """Train to the end, from the last checkpoint where there is one; leaves the best weights in place.

        Raises :class:`TrainingStopped` at a non-finite loss or a collapse, :class:`UserError` when there is
        nothing to train on or the disk refuses.
        """
        if self.config.epochs == 0 or self.config.max_steps == 0:
            return Progress()
        if len(self.material.pairs) == 0:
            raise UserError("there is no training pair: the data set has no train split, or it is empty")
        if self.config.recompute:
            self.encoder.transformer.gradient_checkpointing_enable({"use_reentrant": False})
        try:
            with self.encoder.narrowed(self.material.vocabulary(self.source.reach())) as narrowed:
                done = self._run(narrowed)
        finally:
            if self.config.recompute:
                self.encoder.transformer.gradient_checkpointing_disable()
        if done.best_step is not None and done.best_step != done.step:
            self.encoder.load_state_dict(checkpoint.read(self.directory / "best.pt")["encoder"])
        return done

    def _run(self, narrowed: Narrowed) -> Progress:
        config, encoder, plan = self.config, self.encoder, self.ends
        encoder.train()
        torch.manual_seed(self.seed)
        optimizer = adamw(encoder.parameters(), config.lr, config.weight_decay)
        scaler = torch.amp.GradScaler(encoder.device.type, enabled=self.precision == "fp16")
        done, window = Progress(), Window()
        stepper = Stepper(
            encoder, self.strategy, self.material, self.precision, config.micro_batch, self.gather, self.view
        )
        state = State(done, encoder, narrowed, optimizer, scaler, window, stepper.memory)
        last = self.directory / "last.pt"
        if last.exists():
            state.read(checkpoint.read(last))
            self.source.resume(done.step)
        self.hooks.resumed(done.step)
        stepper.texts_encoded = done.texts
        pairs = self.material.pairs
        before, since = done.seconds, perf_counter()
        while not plan.over(done):
            if self.source.due(done.step):
                with narrowed.widened():
                    cost = self.source.refresh(done.step)
                done.mine_s += cost.seconds
                done.mine_texts += cost.texts
                checkpoint.write(last, state.write())  # a resume needs the search that goes with its step
                self.source.settle(done.step)
                before, since = done.seconds, perf_counter()
            lr = lr_at(plan.spent(done), plan.total, config.lr, config.warmup)
            for group in optimizer.param_groups:
                group["lr"] = lr
            rows = batch_rows(len(pairs), config.batch_size, self.seed, done.step)
            drawn = self.source.draw(rows, done.step)
            own = None if drawn is None else drawn.ids
            scale = float(scaler.scale(torch.ones((), device=encoder.device)))
            batch, loss = stepper.backward(pairs.query[rows], pairs.positive[rows], own, done.step, scale)
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
            window.add({"loss": loss.value.detach(), "gradient_norm": norm, **measure(batch, loss, drawn)})
            over = plan.over(done)
            if done.step % config.log_every == 0 or over:
                self._tell(window, done, lr, over)
            self.hooks.progress(done.step, plan.steps(done), done.pairs / max(done.seconds, 1e-9))
            evaluated = self._evaluate_if_due(done, over, narrowed)
            if done.step % config.save_every == 0 or over or evaluated:
                checkpoint.write(last, state.write())
            before, since = done.seconds, perf_counter()
        return done

    def _tell(self, window: Window, done: Progress, lr: float, over: bool) -> None:
        """Give the history a row; stop when all embeddings are one, warn when nothing is left to learn from."""
        row = window.means(done.totals)
        self.hooks.event({"step": done.step, "lr": lr, **row})
        if row["spread"] < COLLAPSED:
            raise TrainingStopped(
                f"all embeddings have become one by step {done.step} (the cosines of a query differ by "
                f"{row['spread']:.1e}); lower train.lr={self.config.lr:g}"
            )
        for told in complaints(self.strategy, row, done.step, over):
            if not any(told.partition(":")[0] == before.partition(":")[0] for before in done.warnings):
                done.warnings.append(told)
                log.warning(told)

    def _stop_unless_finite(self, what: str, value: torch.Tensor, step: int) -> None:
        if not np.isfinite(value.item()):
            raise TrainingStopped(
                f"the {what} became {value.item()} at step {step}; lower train.lr={self.config.lr:g}, or use "
                f"train.precision=fp32 (it is {self.precision})"
            )

    def _evaluate_if_due(self, done: Progress, over: bool, narrowed: Narrowed) -> bool:
        """Search the dev set when it is time, keep the weights if they are the best so far."""
        every = self.config.eval_every
        if every is None:
            every = steps_per_epoch(len(self.material.pairs), self.config.batch_size)
        due = every and (done.step % every == 0 or over)
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


def total_steps(config: TrainConfig, pairs: int) -> int:
    """Optimiser steps that ``config`` makes of so many pairs."""
    steps = config.epochs * steps_per_epoch(pairs, config.batch_size)
    return steps if config.max_steps is None else min(steps, config.max_steps)
