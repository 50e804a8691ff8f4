"""One run: what decides it, and carrying it out, going on with it or finding it finished."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from bench.data import DataConfig, DataSet
from bench.data import load as load_data
from bench.errors import UserError, at_least, choice, nearest
from bench.evaluate import EvalConfig
from bench.job import Job
from bench.model.config import EncoderConfig
from bench.model.precision import resolve_device
from bench.negatives import MiningConfig
from bench.negatives import check as check_negatives
from bench.progress import Display
from bench.record.identity import run_id
from bench.record.record import Record
from bench.record.store import RunDirectory
from bench.record.tracker import MODES, make_tracker
from bench.role import ALONE, Pruned, Role
from bench.search import IndexConfig
from bench.train.budget import BudgetConfig
from bench.train.config import TrainConfig
from strategies import Strategy


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides one run."""

    strategy: Strategy
    data: DataConfig = field(default_factory=DataConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    mining: MiningConfig = field(default_factory=MiningConfig)
    index: IndexConfig = field(default_factory=IndexConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    seed: int = 0
    device: str = "auto"
    runs_dir: str = "runs"
    track: str = "auto"

    def __post_init__(self) -> None:
        choice("track", self.track, MODES)
        at_least("seed", self.seed, 0)
        if self.seed >= 2**63:
            raise UserError(f"seed={self.seed} must be below 2**63")
        if not self.runs_dir:
            raise UserError("runs_dir= is empty; name a directory, such as runs_dir=runs")
        self.index.check(self.eval.retrieve)
        if self.train.stage_steps and self.train.max_steps:
            raise UserError("train.stage_steps and train.max_steps both say when training ends; give one of them")
        if self.budget.declared and (self.train.max_steps or self.train.stage_steps):
            name = "max_steps" if self.train.max_steps else "stage_steps"
            raise UserError(f"train.{name} and a budget both say when training ends; give one of them")
        if self.train.warmup >= 1 and (self.budget.texts or self.budget.seconds):
            raise UserError(f"train.warmup={self.train.warmup:g} counts steps, the budget does not; give a share")
        steps, stages = self.train.stage_steps, len(self.strategy.stages())
        if steps is not None and len(steps) != stages:
            raise UserError(
                f"train.stage_steps={list(steps)} is for {len(steps)} stages, {self.strategy.name} has {stages}"
            )

    @property
    def root(self) -> Path:
        """The directory of all runs."""
        return Path(self.runs_dir).expanduser()

    def tree(self) -> dict[str, Any]:
        """The configuration as nested plain values, the strategy with its name: what records hold."""
        tree = asdict(self)
        tree["strategy"] = {"name": self.strategy.name, **tree["strategy"]}
        return tree


@dataclass(frozen=True)
class Outcome:
    """The record of a run, and whether it was there already."""

    record: Record
    path: Path
    skipped: bool = False


def run_id_of(config: RunConfig, fingerprint: str) -> str:
    """The name of the run of ``config`` on the data of a fingerprint."""
    return run_id(config.tree(), fingerprint)


def run(
    config: RunConfig,
    command: str,
    *,
    force: bool = False,
    display: Display | None = None,
    load: Callable[[DataConfig], DataSet] = load_data,
    role: Role = ALONE,
) -> Outcome:
    """Carry out one run, go on with an interrupted one, or find that it is finished already.

    ``command`` is kept in the record as what repeats it; ``force`` runs a finished one again; ``load`` may
    keep the data for the next run. Raises :class:`UserError` for all that the person can mend; the record
    then says ``failed``, and why.
    """
    device = resolve_device(config.device)
    with display or Display() as shown:
        with shown.task("data"):
            data = load(config.data)
        split = _final_split(data, config.eval.split)
        _check(config, data)
        identity = run_id_of(config, data.fingerprint)
        with RunDirectory.open(config.root, identity) as directory:
            if directory.finished and not force:
                directory.drop_checkpoints()  # a kill may have come between the record and this
                return Outcome(directory.read_record(), directory.path, skipped=True)
            if force:
                directory.clear()
            tracker = make_tracker(config.track, config.root)
            job = Job(config, command, data, split, device, directory, tracker, shown, role)
            ok = False
            try:
                record = job.carry_out(identity)
                ok = True
            except torch.OutOfMemoryError as error:
                told = UserError(
                    f"{device} ran out of memory; set train.micro_batch (texts at once, now "
                    f"{config.train.micro_batch or 'all of a batch'}), which leaves the result as it is"
                )
                directory.write_record(job.record(identity, status="failed", error=str(told)))
                raise told from error
            except Pruned:
                directory.write_record(job.record(identity, status="pruned"))
                directory.drop_checkpoints()
                raise
            except Exception as error:
                directory.write_record(job.record(identity, status="failed", error=str(error)))
                raise
            finally:
                tracker.finish(ok)
    return Outcome(record, directory.path)


def _check(config: RunConfig, data: DataSet) -> None:
    """Refuse before any text is encoded what would otherwise fail after it."""
    if config.eval.retrieve > data.corpus_size:
        raise UserError(
            f"eval.retrieve={config.eval.retrieve}, but the corpus of {data.name} has {data.corpus_size} "
            f"passages; set eval.retrieve and eval.ks to at most {data.corpus_size}"
        )
    trains = config.train.epochs and config.train.max_steps != 0
    if trains:
        check_negatives(config.strategy, data)
    if "train" not in data.splits and trains:
        raise UserError(f"data set {data.name} has no train split; train.max_steps=0 evaluates the encoder untrained")


def _final_split(data: DataSet, wanted: str) -> str:
    """The split that is reported: the one asked for, dev where there is no test."""
    if wanted == "test" and "test" not in data.splits and "dev" in data.splits:
        return "dev"
    if wanted not in data.splits:
        raise UserError(f"eval.split={wanted}: data set {data.name} has no such split{nearest(wanted, data.splits)}")
    return wanted
