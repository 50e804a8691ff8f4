"""Carrying out a study: every strategy's trials, then the best again on fresh seeds.

Any process may be killed at any moment; the same command continues."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import optuna
from optuna.pruners import BasePruner, MedianPruner, NopPruner, WilcoxonPruner
from optuna.storages import BaseStorage
from optuna.trial import Trial, TrialState

from bench.data import DataSet
from bench.errors import Impossible, UserError
from bench.record.identity import flat
from bench.record.record import Record
from bench.record.store import RunDirectory, RunLocked
from bench.run.acting import check_mechanism
from bench.run.context import Pruned, RunContext
from bench.run.lifecycle import check_training
from bench.study.arm import Arm
from bench.study.claims import Claims
from bench.study.heartbeat import heartbeat
from bench.study.options import Options
from bench.study.searched import note_searched
from bench.study.services import Services
from bench.study.spec import as_overrides, grid, merged
from bench.study.starts import first_trials
from bench.study.trials import StrategyTrials
from bench.train.trainer import TrainingStopped
from studies.base import Dimension, StudySpec

log = logging.getLogger(__name__)

WHY = "why"  # the attribute with the reason of a failed trial
WAIT_S = 1.0  # between two looks at what another worker is doing


@dataclass
class StudyRunner:
    """Carries out one study. ``base`` are the overrides of every run; ``varied`` are the dimensions of each strategy.

    The name of its ``directory`` is that of its trials and of its W&B group.
    """

    directory: Path
    spec: StudySpec
    base: tuple[str, ...]
    varied: Sequence[tuple[Dimension, ...]]
    storage: BaseStorage
    services: Services
    data: DataSet
    options: Options = field(default_factory=Options)
    started: float = field(default_factory=monotonic)

    @property
    def name(self) -> str:
        return self.directory.name

    def carry_out(self) -> tuple[list[Arm], list[Record]]:
        """All trials and final runs; the arms and the records of the final runs.

        The strategies take turns, so that a time limit is the same for all. A strategy without a finished trial has
        the reason in its arm, and no final run. Raises :class:`UserError` when no strategy has a finished trial.
        """
        starts = [(f"strategy={strategy}", *own) for strategy, *own in map(str.split, self.spec.strategies)]
        sweeps = [self._sweep(start, dimensions) for start, dimensions in zip(starts, self.varied, strict=True)]
        self.services.expect(self._left(sweeps))
        self._trials(list(zip(starts, sweeps, strict=True)))
        arms = [self._arm(start, sweep) for start, sweep in zip(starts, sweeps, strict=True)]
        if not any(arm.finals for arm in arms):
            raise UserError("no trial finished: " + "; ".join(f"{a.strategy}: {a.why}" for a in arms))
        finals = [
            (line, what) for arm in arms for what, words_of in arm.finals.items() for line in self._seeded(words_of)
        ]
        self.services.expect(0 if self.spec.protocol == "grid" else len(finals))
        return arms, self._final(finals)

    def _left(self, sweeps: Sequence[StrategyTrials]) -> int:
        """The number of runs left: those of trials that have not ended, and the final runs that are no trials."""
        q = self.spec
        trials = sum(s.wanted - sum(t.state.is_finished() for t in s.counted()) for s in sweeps)
        finals = 0 if q.protocol == "grid" else len(sweeps) * len(q.fresh) * (1 + q.against_default)
        return max(0, trials) * len(q.seeds) + finals

    def _trials(self, left: list[tuple[tuple[str, ...], StrategyTrials]]) -> None:
        """Trials of all strategies in turns, until each has all its trials or the time is over."""
        sweeps = [sweep for _, sweep in left]
        while left:
            waiting = []
            for start, sweep in list(left):
                if self.options.timeout is not None and monotonic() - self.started >= self.options.timeout:
                    return
                trial = sweep.claim()
                if trial is not None:
                    try:
                        self._trial(sweep, start, trial)
                    finally:
                        sweep.give_back(trial)
                    self.services.expect(self._left(sweeps))  # a failed trial or a pruned one had fewer runs
                elif sweep.running():
                    waiting.append(start)  # what others are at may yet come back
                else:
                    left.remove((start, sweep))
            if len(waiting) == len(left) > 0:
                sleep(WAIT_S)

    def _arm(self, start: Sequence[str], sweep: StrategyTrials) -> Arm:
        """The result of one strategy."""
        trials = [trial for trial in sweep.counted() if sweep.known(trial)]
        values = [sweep.values(trial) for trial in trials]
        reasons = Counter(trial.user_attrs[WHY] for trial in trials if WHY in trial.user_attrs)
        complete = [(t, v) for t, v in zip(trials, values, strict=True) if t.state == TrialState.COMPLETE]
        best = max(complete, key=lambda pair: (pair[0].value or 0.0, -pair[0].number), default=None)
        on_grid = self.spec.protocol == "grid"
        if not on_grid:  # another machine's, or of a runs directory that was copied
            note_searched(self.directory, [run for of in values for run in self._runs(start, of)])
        won = None if best is None else best[1]
        finals, defaults = self._finals(start, [v for _, v in complete], won)
        return Arm(
            strategy=start[0].removeprefix("strategy="),
            trials=trials,
            values=values,
            best=None if best is None or on_grid else (best[0].value or 0.0, best[1]),
            finals=finals,
            defaults=defaults,
            why="" if complete else next(iter(reasons), "there was no time for it"),
            reasons=dict(reasons),
        )

    def _sweep(self, start: Sequence[str], dimensions: tuple[Dimension, ...]) -> StrategyTrials:
        q, strategy = self.spec, start[0].removeprefix("strategy=")
        on_grid = q.protocol == "grid"
        study = optuna.create_study(
            study_name=f"{self.name}/{strategy}",
            storage=self.storage,
            direction="maximize",
            pruner=self._pruner(),
            load_if_exists=True,
        )
        wanted = len(grid(dimensions)) if on_grid else q.trials
        if (there := len(study.get_trials(deepcopy=False))) > wanted:
            log.info("%s already has %d trials; all of them count", strategy, there)

        def possible(values: dict[str, Any]) -> bool:
            return bool(self._runs(start, values))

        claims, sampler = Claims(self.directory / "claims"), self.options.sampler
        defaults = dict(flat(self.services.resolve(merged(start, self.base)).tree()))
        first = () if on_grid else first_trials(dimensions, defaults)
        return StrategyTrials(study, self.storage, dimensions, wanted, on_grid, sampler, claims, possible, first)

    def _runs(self, start: Sequence[str], values: dict[str, Any]) -> list[RunDirectory]:
        """The directories of a trial's runs; none for settings that are invalid together."""
        try:
            return self._valid_runs(start, values)
        except UserError:
            return []

    def _valid_runs(self, start: Sequence[str], values: dict[str, Any]) -> list[RunDirectory]:
        """The same. Raises :class:`UserError` for settings that are invalid together."""
        configs = [self.services.resolve(self._judged(start, values, seed)) for seed in self.spec.seeds]
        for config in configs:
            check_mechanism(config)
        return [RunDirectory(c.root, c.run_id(self.data.fingerprint)) for c in configs]

    def _pruner(self) -> BasePruner:
        """Over several seeds a signed-rank test of their values; over one, the median of earlier dev evaluations."""
        if self.spec.protocol == "grid":
            return NopPruner()
        several = len(self.spec.seeds) > 1
        return WilcoxonPruner(p_threshold=0.1) if several else MedianPruner(n_startup_trials=5)

    def _trial(self, sweep: StrategyTrials, start: Sequence[str], trial: Trial) -> None:
        """Carry out one trial, or leave it to another process that runs it."""
        q, several = self.spec, len(self.spec.seeds) > 1
        values = sweep.values(trial)
        found: list[float] = []
        state = TrialState.COMPLETE

        def watch(step: int, metrics: dict[str, float]) -> None:
            trial.report(metrics[q.metric], step)
            if trial.should_prune():
                raise Pruned

        if q.protocol == "search":
            note_searched(self.directory, self._runs(start, values))
        settings = as_overrides({key.partition(".")[2] or key: value for key, value in values.items()})
        context = RunContext(self.name, "trial", chosen=False, settings=tuple(settings))
        if not several and q.protocol == "search":
            context = replace(context, watch=watch)
        with heartbeat(self.storage, sweep.study.study_name, trial.number):
            for place, seed in enumerate(q.seeds):
                try:
                    found.append(self._value(self._judged(start, values, seed), context))
                except RunLocked:
                    sleep(WAIT_S)
                    return
                except Pruned:
                    state = TrialState.PRUNED
                    break
                except (TrainingStopped, Impossible) as error:
                    log.warning("trial %d: %s", trial.number + 1, error)
                    trial.set_user_attr(WHY, str(error))
                    state = TrialState.FAIL
                    break
                if several:
                    trial.report(found[-1], place)
                    if trial.should_prune():
                        state = TrialState.PRUNED
                        break
            value = sum(found) / len(found) if state == TrialState.COMPLETE else None
            sweep.study.tell(trial, value, state, skip_if_finished=True)
        shown = f"{self._judge()} {value:.2f}" if value is not None else state.name.lower()
        line = " ".join([*start, *as_overrides(values)])
        log.info("trial %d of %d, %s: %s", trial.number + 1, sweep.wanted, line, shown)

    def _finals(
        self, start: Sequence[str], values: Sequence[dict[str, Any]], best: dict[str, Any] | None
    ) -> tuple[dict[str, list[str]], str]:
        """The overrides of the final runs, without the seed; and why the defaults have none of their own."""
        if best is None:
            return {}, ""
        if self.spec.protocol == "grid":
            return {" ".join(as_overrides(settings)): self._overrides(start, settings) for settings in values}, ""
        found = {"best": self._overrides(start, best)}
        if not self.spec.against_default:
            return found, ""
        try:
            defaults = self._valid_runs(start, {})
        except UserError as error:
            return found, f"the defaults do not fit this study: {error}"
        if defaults == self._runs(start, best):
            return found, f"the defaults are the best settings of {len(values)} finished trials"
        return found | {"default": self._overrides(start, {})}, ""

    def _overrides(self, start: Sequence[str], values: dict[str, Any]) -> list[str]:
        return merged(start, self.base, as_overrides(values))

    def _judged(self, start: Sequence[str], values: dict[str, Any], seed: int) -> list[str]:
        """The overrides of one run of a trial; in a search it never uses the reported split."""
        judged = self.spec.judged if self.spec.protocol == "search" else ()
        return merged(self._overrides(start, values), [f"seed={seed}"], judged)

    def _judge(self) -> str:
        return self.spec.metric if self.spec.protocol == "search" else self.spec.report

    def _seeded(self, words_of: Sequence[str]) -> Iterator[list[str]]:
        q = self.spec
        for seed in q.seeds if q.protocol == "grid" else q.fresh:
            yield [*words_of, f"seed={seed}"]

    def _execute(self, line: Sequence[str], context: RunContext) -> Record:
        try:
            config = self.services.resolve(line)
            check_training(config, self.data)
            config.index.require()
        except UserError as error:
            raise Impossible(error) from error
        return self.services.execute(config, line, context)

    def _value(self, line: Sequence[str], context: RunContext) -> float:
        """The value of a trial's run. Raises :class:`Impossible` where the run is invalid."""
        record = self._execute(line, context)
        if record.invalid:
            raise Impossible(record.invalid)
        return float(record.metrics[self._judge()] or 0.0)

    def _final(self, lines: Sequence[tuple[Sequence[str], str]]) -> list[Record]:
        """The final runs, each with what its settings are; one that another process has locked is left to it."""
        found: dict[int, Record] = {}
        told = False
        while len(found) < len(lines):
            done = len(found)
            for place, (line, what) in enumerate(lines):
                if place not in found:
                    with suppress(RunLocked):
                        context = RunContext(self.name, "final", chosen=what == "best", settings=(what,))
                        found[place] = self._execute(line, context)
            if len(found) == done:
                if not told:
                    log.info("another process is at the %d runs that are left; waiting", len(lines) - done)
                told = True
                sleep(WAIT_S)
        return [found[place] for place in range(len(lines))]
