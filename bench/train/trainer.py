"""The training loop, which is the same for every strategy."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from bench.data.dataset import Ids
from bench.data.sampler import batch_rows, steps_per_epoch
from bench.errors import UserError
from bench.model.cpu.workers import one_thread
from bench.model.narrowing import Narrowed, narrowed
from bench.negatives import Drawn
from bench.train import checkpoint
from bench.train.budget import Plan
from bench.train.config import TrainConfig
from bench.train.diagnostics import diagnose, length, rising
from bench.train.learner import Learner
from bench.train.optimizer import adamw, lr_at
from bench.train.state import Progress, State, Window
from bench.train.step import Objective, Stepper
from bench.train.telemetry import AnyBatch, measure
from bench.world import World
from strategies import Loss

log = logging.getLogger(__name__)

COLLAPSED = 1e-4  # spread of cosines; float32 cosines of equal vectors differ by less


class TrainingStopped(UserError):
    """Training cannot continue: the loss or its gradient is not finite, or all embeddings have become equal."""


@dataclass(frozen=True)
class Hooks:
    """Callbacks of the loop on the first rank. ``event`` gets a history row, ``progress`` (step, total, pairs/s),
    ``resumed`` the step that training resumes from.

    ``evaluate`` is called on every rank, as all encode. The first one measures the current encoder and returns metrics
    in percent; the weights with the best ``selection`` are kept. None trains without evaluation.
    """

    event: Callable[[dict[str, Any]], None] = lambda row: None
    progress: Callable[[int, int, float], None] = lambda step, total, rate: None
    evaluate: Callable[[], dict[str, float]] | None = None
    selection: str = ""
    resumed: Callable[[int], None] = lambda step: None


@dataclass(frozen=True)
class Conditions:
    """The conditions of a stage: seed, number format, directory of its state, and ranks.

    ``precision`` is resolved (``bf16``, ``fp16``, ``fp32``). ``directory`` holds ``last.pt`` for a resume and
    ``best.pt`` with the weights that did best on dev. ``stage`` is its name, and empty where it is the only one;
    ``before`` are the steps of earlier stages. Messages give both.
    """

    seed: int
    precision: str
    directory: Path
    world: World = field(default_factory=World)
    stage: str = ""
    before: int = 0


def of_stage(stage: str, message: str) -> str:
    """The message with the stage that it is about, which has no name where it is the only one."""
    return f"stage {stage}: {message}" if stage else message


@dataclass(frozen=True)
class Trainer:
    """Trains ``learner`` on ``objective``; :meth:`fit` runs or resumes.

    It ends by ``plan``, or else after the epochs and steps of ``config``.
    """

    learner: Learner
    objective: Objective
    config: TrainConfig
    conditions: Conditions
    hooks: Hooks = field(default_factory=Hooks)
    plan: Plan | None = None

    def _told(self, message: str) -> str:
        return of_stage(self.conditions.stage, message)

    @property
    def ends(self) -> Plan:
        """When training ends: by its own plan, else after the epochs and steps of ``config``."""
        return self.plan or Plan("steps", total_steps(self.config, len(self.objective.examples)))

    def fit(self) -> Progress:
        """Train to the end, from the last checkpoint if there is one; the learner then has the best weights.

        Raises :class:`TrainingStopped` at a non-finite loss or a collapse, :class:`UserError` when there is
        nothing to train on or the disk refuses.
        """
        if not self.config.trains:
            return Progress()
        if len(self.objective.examples) == 0:
            raise UserError("there is no training pair: the data set has no train split, or it is empty")
        encoder, objective = self.learner.encoder, self.objective
        with self._recomputing(), narrowed(encoder, objective.examples.vocabulary(objective.sampler.reach())) as table:
            done = self._run(table)
        if done.best_step is not None and done.best_step != done.step:
            self.learner.load_state_dict(checkpoint.read(self.conditions.directory / "best.pt")["learner"])
        return done

    @contextmanager
    def _recomputing(self) -> Iterator[None]:
        """Activation checkpointing during training, if the settings request it."""
        transformer = self.learner.encoder.transformer
        if self.config.recompute:
            transformer.gradient_checkpointing_enable({"use_reentrant": False})
        try:
            yield
        finally:
            if self.config.recompute:
                transformer.gradient_checkpointing_disable()

    def _run(self, table: Narrowed) -> Progress:
        config, learner, plan, sampler = self.config, self.learner, self.ends, self.objective.sampler
        seed, precision, world = self.conditions.seed, self.conditions.precision, self.conditions.world
        learner.train()
        torch.manual_seed(seed if world.first else int(np.random.SeedSequence([seed, world.rank]).generate_state(1)[0]))
        optimizer = adamw(learner.parameters(), config.lr, config.weight_decay)
        scaler = torch.amp.GradScaler(learner.device.type, enabled=precision == "fp16")
        done, window = Progress(), Window()
        stepper = Stepper(learner, self.objective, precision, config.micro_batch, world, config.groups)
        state = State(done, learner, table, optimizer, scaler, window, stepper.queues, world)
        if world.broadcast(self._last.exists()):
            state.read(checkpoint.read(self._last))
            sampler.resume(done.refreshed)
        if world.first:
            self.hooks.resumed(done.step)
        stepper.texts_encoded = done.texts
        before, since = done.seconds, perf_counter()
        spent = world.broadcast(plan.spent(done))
        for said in length(config, plan, self._every):
            log.warning(self._told(said))
        while spent < plan.total and not self._stalled(done):
            if sampler.due(done.step):
                self._refresh(state)
                spent = world.broadcast(plan.spent(done))
                before, since = done.seconds, perf_counter()
            lr = lr_at(spent, plan.total, config.lr, config.warmup, config.schedule)
            for group in optimizer.param_groups:
                group["lr"] = lr
            rows = batch_rows(len(self.objective.examples), config.batch_size, seed, done.step, self.objective.cluster)
            drawn = sampler.draw(rows, done.step)
            with one_thread() if stepper.workers > 1 else nullcontext():
                batch, loss, norm, skipped = self._step(stepper, state, rows, drawn)
            if not skipped:
                table.unused_decay *= 1 - lr * config.weight_decay
            done.step += 1
            done.pairs += len(rows)
            done.texts = stepper.texts_encoded
            done.seconds = before + perf_counter() - since
            window.add({**loss.scalars, "gradient_norm": norm, **measure(batch, loss, drawn)})
            spent = world.broadcast(plan.spent(done))
            over = spent >= plan.total
            if told := done.step % config.log_every == 0 or over:
                self._tell(window, done, lr)
            if world.first:
                self.hooks.progress(done.step, plan.steps(done), done.pairs / max(done.seconds, 1e-9))
            evaluated = self._evaluate_if_due(done, over, table)
            if self._stalled(done) and not told:
                self._tell(window, done, lr)
            if done.step % config.save_every == 0 or over or evaluated:
                self._save(state)
            before, since = done.seconds, perf_counter()
        for said in rising(config, plan, done):
            self._warn(said, done)
        if spent < plan.total:
            best, last = (self.conditions.before + (step or 0) for step in (done.best_step, done.step))
            log.info(self._told(f"dev has not improved since step {best}: training ends at step {last}"))
        return done

    def _step(
        self, stepper: Stepper, state: State, rows: Ids, drawn: Drawn | None
    ) -> tuple[AnyBatch, Loss, torch.Tensor, bool]:
        """One update of the weights: the batch, its loss, the gradient's norm, and whether the update was skipped."""
        learner, scaler, optimizer, step = state.learner, state.scaler, state.optimizer, state.progress.step
        scale = float(scaler.scale(torch.ones((), device=learner.device)))
        batch, loss = stepper.backward(rows, drawn, step, scale)
        self._stop_unless_finite("loss", loss.value, step + 1)
        scaler.unscale_(optimizer)
        norm = torch.nn.utils.clip_grad_norm_(learner.parameters(), self.config.clip or torch.inf)
        if not scaler.is_enabled():  # which meets such gradients now and then, and skips their step
            self._stop_unless_finite("gradient", norm, step + 1)
        scaler.step(optimizer)
        before = scaler.get_scale()
        scaler.update()
        optimizer.zero_grad()
        return batch, loss, norm, scaler.get_scale() < before

    @property
    def _last(self) -> Path:
        return self.conditions.directory / "last.pt"

    def _save(self, state: State) -> None:
        """Write a checkpoint; every rank contributes its state, and the first rank writes."""
        saved = state.write()
        if self.conditions.world.first:
            checkpoint.write(self._last, saved)

    def _refresh(self, state: State) -> None:
        """Let all ranks search for negatives with the current encoder; each does a share."""
        sampler, done, world = self.objective.sampler, state.progress, self.conditions.world
        with state.table.widened():
            cost = world.broadcast(sampler.refresh(done.step))
        done.mine_s += cost.seconds
        done.mine_texts += cost.texts
        done.refreshed = done.step
        self._save(state)  # a resume needs the search that goes with its step
        if world.first:
            sampler.settle(done.step)

    def _tell(self, window: Window, done: Progress, lr: float) -> None:
        """Add a row to the history; stop on a collapse, and warn when nothing is left to learn from."""
        row = window.means(done.totals)
        if self.conditions.world.first:
            self.hooks.event({"step": done.step, "lr": lr, **row})
        step, told = self.conditions.before + done.step, self._told
        if row["spread"] < COLLAPSED:
            why = f"all embeddings have become equal by step {step} (the cosines of a query differ by"
            raise TrainingStopped(told(f"{why} {row['spread']:.1e}); lower train.lr={self.config.lr:g}"))
        for warning in diagnose(self.objective.strategy, row, step):
            self._warn(warning, done)

    def _warn(self, warning: str, done: Progress) -> None:
        """Log a warning and keep it for the record, if none has the same text before its colon."""
        if not any(warning.partition(":")[0] == before.partition(":")[0] for before in done.warnings):
            done.warnings.append(warning)
            log.warning(self._told(warning))

    def _stop_unless_finite(self, what: str, value: torch.Tensor, step: int) -> None:
        if not np.isfinite(value.item()):
            why = f"the {what} became {value.item()} at step {self.conditions.before + step}"
            mend = f"lower train.lr={self.config.lr:g}, or use train.precision=fp32 (it is {self.conditions.precision})"
            raise TrainingStopped(self._told(f"{why}; {mend}"))

    @property
    def _every(self) -> int:
        """Steps between two evaluations on dev; 0 for none."""
        every = self.config.eval_every
        return steps_per_epoch(len(self.objective.examples), self.config.batch_size) if every is None else every

    def _stalled(self, done: Progress) -> bool:
        """Whether dev has not improved for as many evaluations as ``train.patience`` says."""
        patience, best = self.config.patience, done.best_step
        return patience is not None and best is not None and done.step - best >= patience * self._every

    def _evaluate_if_due(self, done: Progress, over: bool, table: Narrowed) -> bool:
        """Evaluate when due, and keep the weights if they are the best so far; the first rank's result counts."""
        every, world = self._every, self.conditions.world
        due = every and (done.step % every == 0 or over)
        if self.hooks.evaluate is None or not due:
            return False
        with table.widened():
            metrics = world.broadcast(self.hooks.evaluate())
            value = metrics[self.hooks.selection]
            best = done.best_value is None or value > done.best_value
            if best:
                done.best_step, done.best_value = done.step, value
            if best and world.first:
                checkpoint.write(self.conditions.directory / "best.pt", {"learner": self.learner.state_dict()})
        world.broadcast(None)  # nobody reads the best weights before they are there
        if world.first:
            self.hooks.event({"step": done.step, **{f"dev/{name}": v for name, v in metrics.items()}})
        return True


def total_steps(config: TrainConfig, examples: int) -> int:
    """Optimiser steps that ``config`` makes of so many examples."""
    steps = config.epochs * steps_per_epoch(examples, config.batch_size)
    return steps if config.max_steps is None else min(steps, config.max_steps)
