"""The trials of one strategy in one study: their settings, and each carried out exactly once."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, PartialFixedSampler, RandomSampler, TPESampler
from optuna.storages import (
    BaseStorage,
    InMemoryStorage,
    RDBStorage,
    RetryHeartbeatStaleTrialCallback,
    fail_stale_trials,
)
from optuna.trial import FrozenTrial, Trial, TrialState

from bench.study.claims import Claims
from bench.study.heartbeat import trial_id
from bench.study.spec import grid
from studies.base import Dimension

_SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "tpe": lambda seed: TPESampler(seed=seed, n_startup_trials=5),
    "random": lambda seed: RandomSampler(seed=seed),
}
SURPLUS = "surplus"  # marks a trial that was begun when there were enough
DRAWS = 50
ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass
class StrategyTrials:
    """At most ``wanted`` trials of an Optuna study over ``dimensions``, on a grid or proposed by a sampler.

    A proposal depends only on the trial's place and the trials that have ended, not on the history of a process. A
    study that is continued after a kill therefore proposes the same settings. ``claims`` are what the processes that
    share the study's directory are at; a database has heartbeats for that. ``possible`` says whether settings are valid
    together, so that no trial is spent on invalid ones. ``first`` are the parameters of a search's first trials.
    """

    study: optuna.Study
    storage: BaseStorage
    dimensions: tuple[Dimension, ...]
    wanted: int
    on_grid: bool
    sampler: str
    claims: Claims
    possible: Callable[[dict[str, Any]], bool]
    first: Sequence[dict[str, Any]] = ()

    def claim(self) -> Trial | None:
        """The next trial: one that a dead process left, or a new one. None when there is none.

        It is this process's until :meth:`give_back`.
        """
        if isinstance(self.storage, RDBStorage):
            fail_stale_trials(self.study)
            if any(self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,))):
                return self._with_params(self.study.ask())
            return self._new()
        with self.claims.deciding():
            for frozen in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                if self.claims.take(self._name(frozen)):
                    kept = trial_id(self.storage, self.study.study_name, frozen.number)
                    return self._with_params(Trial(self.study, kept))
            trial = self._new()
            if trial is not None:
                self.claims.take(self._name(trial))
            return trial

    def give_back(self, trial: Trial) -> None:
        """Let other processes have the trial, if it has not ended."""
        self.claims.give_back(self._name(trial))

    def _name(self, trial: Trial | FrozenTrial) -> str:
        return f"{self.study.study_name.rpartition('/')[2]}-{trial.number}"

    def _new(self) -> Trial | None:
        if len(self.counted()) >= self.wanted:
            return None
        trial = self.study.ask()
        if self._place(trial) >= self.wanted:  # another worker was quicker
            trial.set_user_attr(SURPLUS, True)
            self.study.tell(trial, state=TrialState.FAIL)
            return None
        return self._with_params(trial)

    def counted(self) -> list[FrozenTrial]:
        """All trials, each once: without those that were started again under another number."""
        trials = self.study.get_trials(deepcopy=False)
        again = {number for t in trials for number in RetryHeartbeatStaleTrialCallback.retry_history(t)}
        return [t for t in trials if t.number not in again and SURPLUS not in t.user_attrs]

    def running(self) -> bool:
        """Whether a process is still carrying out a trial."""
        return any(t.state in (TrialState.RUNNING, TrialState.WAITING) for t in self.counted())

    def values(self, trial: Trial | FrozenTrial) -> dict[str, Any]:
        """The settings of a trial as they are used and shown."""
        return self._used(trial.params)

    def known(self, trial: Trial | FrozenTrial) -> bool:
        """Whether all settings of a trial are in the storage."""
        return {d.key for d in self.dimensions} <= trial.params.keys()

    def _place(self, trial: Trial) -> int:
        """Which of the wanted trials this is, from 0; one that is repeated under another number keeps its place."""
        trials = self.study.get_trials(deepcopy=False)
        first = RetryHeartbeatStaleTrialCallback.retried_trial_number(trials[trial.number])
        number = trial.number if first is None else first
        before = trials[:number]
        return sum(
            not RetryHeartbeatStaleTrialCallback.retry_history(t) and SURPLUS not in t.user_attrs for t in before
        )

    def _with_params(self, trial: Trial) -> Trial:
        """The trial with all its settings in the storage; settings already there stay."""
        if self.known(trial):
            return trial
        distributions = {d.key: distribution(d) for d in self.dimensions}
        place = self._place(trial)
        params = grid(self.dimensions)[place] if self.on_grid else self._proposed(place, distributions)
        self.study.sampler = PartialFixedSampler(params, RandomSampler(seed=0))
        for key, kind in distributions.items():
            _suggest(trial, key, kind)
        return trial

    def _proposed(self, place: int, distributions: dict[str, BaseDistribution]) -> dict[str, Any]:
        """One of the first, or the proposal of a fresh sampler that knows only the trials before this one.

        Settings that are invalid together, or that a trial has already tried, are drawn again, at most :data:`DRAWS`
        times: half of them by the sampler, then at random.
        """
        ended = [t for t in self.counted() if t.state in ENDED]
        tried = [self.values(t) for t in self.counted() if t.state.is_finished() and self.known(t)]
        if place < len(self.first):
            settings = self._used(self.first[place])
            if settings not in tried and self.possible(settings):
                return dict(self.first[place])
        for draw in range(DRAWS):
            seed = zlib.crc32(f"{self.study.study_name} {place} {draw}".encode())
            sampler = _SAMPLERS[self.sampler if draw < DRAWS // 2 else "random"](seed)
            twin = optuna.create_study(direction="maximize", storage=InMemoryStorage(), sampler=sampler)
            twin.add_trials(ended)
            proposed = dict(twin.ask(distributions).params)
            settings = self._used(proposed)
            if settings not in tried and self.possible(settings):
                break
        return proposed

    def _used(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {d.key: d.shown(d.choices[params[d.key]] if d.choices else params[d.key]) for d in self.dimensions}


def distribution(dimension: Dimension) -> BaseDistribution:
    """The Optuna distribution of a dimension; choices are given by place, since Optuna takes no lists as categories."""
    if dimension.choices:
        return CategoricalDistribution(tuple(range(len(dimension.choices))))
    low, high = dimension.bounds
    if dimension.whole:
        return IntDistribution(int(low), int(high), log=dimension.log and low > 0)
    return FloatDistribution(low, high, log=dimension.log)


def _suggest(trial: Trial, key: str, kind: BaseDistribution) -> None:
    if isinstance(kind, FloatDistribution):
        trial.suggest_float(key, kind.low, kind.high, log=kind.log)
    elif isinstance(kind, IntDistribution):
        trial.suggest_int(key, kind.low, kind.high, log=kind.log)
    elif isinstance(kind, CategoricalDistribution):
        trial.suggest_categorical(key, kind.choices)
