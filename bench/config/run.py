"""The configuration of one run, as one value."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.data.load import DataConfig
from bench.errors import UserError, at_least, at_most, choice
from bench.evaluate.config import EvalConfig
from bench.model.config import EncoderConfig
from bench.model.described import settled
from bench.negatives.config import MiningConfig
from bench.record.identity import flat, run_id
from bench.record.store import RunDirectory
from bench.search.base import IndexConfig
from bench.setting import Name, place_named
from bench.track.mode import MODES
from bench.train.budget import BudgetConfig
from bench.train.config import TrainConfig
from strategies import Strategy

KEEP = ("best", "all", "none")


@dataclass(frozen=True)
class RunConfig:
    """The configuration of one run: a strategy, and one part for each package that uses it.

    ``keep`` says which runs leave their weights behind: ``best`` every run but those that a study only tries or
    compares, ``all`` each, ``none`` no run. ``threads`` compute on a CPU, 0 being one for each core that the process
    may use. ``devices`` is the number of processes, one a device, that train together. Raises :class:`UserError` where
    two settings contradict each other.
    """

    strategy: Strategy
    data: DataConfig = field(default_factory=DataConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    mining: MiningConfig = field(default_factory=MiningConfig)
    index: IndexConfig = field(default_factory=IndexConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    seed: int = 0
    device: Name = "auto"
    threads: int = 0
    devices: int = 1
    runs_dir: str = "runs"
    track: Name = "auto"
    keep: Name = "best"

    def __post_init__(self) -> None:
        choice("track", self.track, MODES)
        choice("keep", self.keep, KEEP)
        at_least("seed", self.seed, 0)
        at_least("devices", self.devices, 1)
        at_least("threads", self.threads, 0)
        at_most("threads", self.threads, 1024)
        if self.seed >= 2**63:
            raise UserError(f"seed={self.seed} must be below 2**63")
        self._check_numbers()
        if not self.runs_dir:
            raise UserError("runs_dir= is empty; name a directory, such as runs_dir=runs")
        self.index.check(self.eval.retrieve)
        if self.train.trains and self.train.eval_every != 0 and self.train.eval_corpus < self.eval.retrieve:
            raise UserError(
                f"train.eval_corpus={self.train.eval_corpus} is smaller than eval.retrieve={self.eval.retrieve}; "
                f"set train.eval_corpus to at least {self.eval.retrieve}"
            )
        if self.train.stage_steps and self.train.max_steps:
            raise UserError("train.stage_steps and train.max_steps both set the end of training; give only one of them")
        if self.budget.declared and (self.train.max_steps or self.train.stage_steps):
            name = "max_steps" if self.train.max_steps else "stage_steps"
            raise UserError(f"train.{name} and a budget both set the end of training; give only one of them")
        if self.train.warmup >= 1 and (self.budget.texts or self.budget.seconds):
            raise UserError(
                f"train.warmup={self.train.warmup:g} counts steps, which a budget does not have; give a share below 1"
            )
        steps, stages = self.train.stage_steps, len(self.strategy.stages())
        if steps is not None and len(steps) != stages:
            raise UserError(
                f"train.stage_steps={list(steps)} has {len(steps)} stages, but {self.strategy.name} has {stages}"
            )

    def _check_numbers(self) -> None:
        """Refuse what no number type of the libraries below can hold; single settings have narrower bounds."""
        for key, value in flat(asdict(self)):
            for number in value if isinstance(value, tuple) else (value,):
                if isinstance(number, float) and not math.isfinite(number):
                    raise UserError(f"{key}={number} is not a finite number")
                if isinstance(number, int) and key != "seed" and not key.startswith("budget."):
                    at_most(key, abs(number), 2**31 - 1)

    @property
    def root(self) -> Path:
        """The directory of all runs."""
        return place_named(self.runs_dir)

    @property
    def start(self) -> Path | None:
        """The directory that ``train.init_from`` names: a run's weights, or any directory; None where it is not set.

        Raises :class:`UserError` when it does not exist, or when the run kept no weights.
        """
        source = self.train.init_from
        if source is None:
            return None
        run = RunDirectory(self.root, source)
        if run.path.is_dir() and not run.model.is_dir() and run.finished:
            raise UserError(f"train.init_from={source}: {run.without_weights()}")
        for place in (run.model, place_named(source)):
            if place.is_dir():
                return place
        raise UserError(
            f"train.init_from={source}: there is no such finished run in {self.root}, and no such directory"
        )

    @property
    def each_stage_alone(self) -> bool:
        """Whether every stage trains for the whole of ``train.epochs`` or ``train.max_steps``."""
        shared = self.budget.declared or self.train.stage_steps is not None or self.train.patience is not None
        return self.train.trains and not shared

    def settled_encoder(self) -> EncoderConfig:
        """The encoder's settings; lengths and prefixes that are not given are those that its directory says."""
        try:
            return settled(self.encoder, self.start)
        except UserError:
            return settled(self.encoder)

    def tree(self) -> dict[str, Any]:
        """The configuration as nested plain values, the strategy with its name: what records hold."""
        tree = asdict(replace(self, encoder=self.settled_encoder()))
        tree["strategy"] = {"name": self.strategy.name, **tree["strategy"]}
        return tree

    def run_id(self, fingerprint: str) -> str:
        """The name of the run of this configuration on the data of a fingerprint."""
        return run_id(self.tree(), fingerprint)
