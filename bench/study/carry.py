"""Carrying out a study: every strategy's trials, then the best again on fresh seeds. Any process may die at any moment,
and the same command goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any

import optuna
from optuna.pruners import BasePruner, MedianPruner, NopPruner, WilcoxonPruner
from optuna.storages import BaseStorage
from optuna.storages._heartbeat import get_heartbeat_thread
from optuna.trial import FrozenTrial, Trial, TrialState

from bench.data import DataSet
from bench.errors import UserError
from bench.negatives import check
from bench.record.record import Record
from bench.record.store import RunDirectory
from bench.role import Pruned, Role
from bench.run import RunConfig, run_id_of
from bench.study.options import Options
from bench.study.question import Question, grid, words
from bench.study.sweep import Sweep
from bench.train.loop import TrainingStopped
from strategies import find

log = logging.getLogger(__name__)

WAIT_S = 1.0  # between two looks at what another worker is doing

Execute = Callable[[RunConfig, Sequence[str], Role], Record]
"""Carries out a run, given its configuration and the words that led to it."""


@dataclass(frozen=True)
class Arm:
    """One strategy's part: its ``trials`` (each once), those that won and the words of the final runs."""

    strategy: str
    trials: list[FrozenTrial]
    values: list[dict[str, Any]]
    finals: dict[str, list[str]]  # by what they are: "best", "default", or a grid point


@dataclass
class Study:
    """A question on its way. ``base`` are the overrides of every run; ``resolve`` makes a configuration of words.

    ``name`` is that of its directory, its trials and its W&B group.
    """

    name: str
    question: Question
    base: tuple[str, ...]
    storage: BaseStorage
    resolve: Callable[[Sequence[str]], RunConfig]
    execute: Execute
    data: DataSet
    options: Options = field(default_factory=Options)
    seed: int = 0
    started: float = field(default_factory=monotonic)

    def carry_out(self) -> tuple[list[Arm], list[Record]]:
        """All trials and final runs; the arms and the records of the final runs."""
        arms = [self._arm(name) for name in self.question.strategies]
        records = [
            self._until_free(line, Role(self.name, "final"))
            for arm in arms
            for words_of in arm.finals.values()
            for line in self._seeded(words_of)
        ]
        return arms, records

    def _arm(self, strategy: str) -> Arm:
        sweep = self._sweep(strategy)
        while self.options.timeout is None or monotonic() - self.started < self.options.timeout:
            trial = sweep.claim()
            if trial is None:
                if not sweep.running():
                    break
                sleep(WAIT_S)  # what others are at may yet come back
                continue
            self._trial(sweep, strategy, trial)
        trials = sweep.counted()
        values = [sweep.values(trial) for trial in trials]
        return Arm(strategy.split()[0], trials, values, self._finals(strategy, sweep, trials))

    def _sweep(self, strategy: str) -> Sweep:
        q = self.question
        dimensions = q.dimensions(find(strategy.split()[0]))
        on_grid = q.protocol == "grid"
        study = optuna.create_study(
            study_name=f"{self.name}/{strategy.split()[0]}",
            storage=self.storage,
            direction="maximize",
            pruner=self._pruner(),
            load_if_exists=True,
        )
        wanted = len(grid(dimensions)) if on_grid else q.trials

        def held(values: dict[str, Any]) -> bool:
            line = self._words(strategy, values)
            lines = (self._line(line, [f"seed={seed}"], self._judged()) for seed in q.seeds)
            return any(self._held(self.resolve(line)) for line in lines)

        return Sweep(study, self.storage, dimensions, wanted, on_grid, self.options.sampler, self.seed, held)

    def _pruner(self) -> BasePruner:
        """Over several seeds a signed-rank test of their values; over one, the median of earlier dev evaluations."""
        if self.question.protocol == "grid":
            return NopPruner()
        several = len(self.question.seeds) > 1
        return WilcoxonPruner(p_threshold=0.1) if several else MedianPruner(n_startup_trials=5)

    def _trial(self, sweep: Sweep, strategy: str, trial: Trial) -> None:
        """Do one trial, or leave it to another process that is at it."""
        q, several = self.question, len(self.question.seeds) > 1
        values = sweep.values(trial)
        found: list[float] = []
        state = TrialState.COMPLETE

        def watch(step: int, metrics: dict[str, float]) -> None:
            trial.report(metrics[q.metric], step)
            if trial.should_prune():
                raise Pruned

        role = Role(self.name, "trial") if several or q.protocol == "grid" else Role(self.name, "trial", watch)
        with self._beating(trial):
            for place, seed in enumerate(q.seeds):
                line = self._line(self._words(strategy, values), [f"seed={seed}"], self._judged())
                try:
                    record = self._execute(line, role)
                except Busy:
                    sleep(WAIT_S)
                    return
                except Pruned:
                    state = TrialState.PRUNED
                    break
                except (TrainingStopped, Impossible) as error:
                    log.warning("trial %d of %s: %s", trial.number, strategy, error)
                    state = TrialState.FAIL
                    break
                found.append(float(record.metrics[self._judge()] or 0.0))
                if several:
                    trial.report(found[-1], place)
                    if trial.should_prune():
                        state = TrialState.PRUNED
                        break
            value = sum(found) / len(found) if state == TrialState.COMPLETE else None
            sweep.study.tell(trial, value, state, skip_if_finished=True)
        shown = f"{self._judge()} {value:.2f}" if value is not None else state.name.lower()
        said = " ".join([strategy.split()[0], *words(values)])
        log.info("trial %d of %d, %s: %s", trial.number + 1, sweep.wanted, said, shown)

    def _finals(self, strategy: str, sweep: Sweep, trials: Sequence[FrozenTrial]) -> dict[str, list[str]]:
        """The words of what is reported, less the seed."""
        if self.question.protocol == "grid":
            every = (sweep.values(trial) for trial in trials)
            return {" ".join(words(values)): self._words(strategy, values) for values in every}
        complete = [t for t in trials if t.state == TrialState.COMPLETE]
        if not complete:
            raise UserError(f"no trial of {strategy} came to an end; see the log, or give more trials or time")
        best = max(complete, key=lambda t: (t.value or 0.0, -t.number))
        found = {"best": self._words(strategy, sweep.values(best))}
        if self.question.against_default:
            found["default"] = self._words(strategy, {})
        return found

    def _words(self, strategy: str, values: dict[str, Any]) -> list[str]:
        name, *own = strategy.split()
        return self._line([f"strategy={name}", *own], self.base, words(values))

    def _line(self, *parts: Sequence[str]) -> list[str]:
        """One list of overrides; of two with one key the later stands."""
        return list({word.partition("=")[0]: word for part in parts for word in part}.values())

    def _seeded(self, words_of: Sequence[str]) -> Iterator[list[str]]:
        q = self.question
        for seed in q.seeds if q.protocol == "grid" else q.fresh:
            yield [*words_of, f"seed={seed}"]

    def _judged(self) -> tuple[str, ...]:
        """A trial of a search never sees the split that is reported."""
        return self.question.judged if self.question.protocol == "search" else ()

    def _judge(self) -> str:
        return self.question.metric if self.question.protocol == "search" else self.question.report

    def _execute(self, line: Sequence[str], role: Role) -> Record:
        try:
            config = self.resolve(line)
            check(config.strategy, self.data)
        except UserError as error:
            raise Impossible(error) from error
        if self._held(config):
            raise Busy
        return self.execute(config, line, role)

    def _until_free(self, line: Sequence[str], role: Role) -> Record:
        """A final run, whoever carries it out."""
        while True:
            try:
                return self._execute(line, role)
            except Busy:
                sleep(WAIT_S)

    def _held(self, config: RunConfig) -> bool:
        return RunDirectory(config.root, run_id_of(config, self.data.fingerprint)).held

    @contextmanager
    def _beating(self, trial: Trial) -> Iterator[None]:
        """Tell a shared storage that this worker lives, while it does."""
        with get_heartbeat_thread(trial._trial_id, self.storage):
            yield


class Busy(Exception):
    """Another process is at this run."""


class Impossible(UserError):
    """Settings that do not go together, or not with the data."""
