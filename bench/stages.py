"""Training a run: the stages of its strategy one after the other, each from where the one before ended."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.data import DataSet, tokenize
from bench.data.cache import cache_dir
from bench.data.order import steps_per_epoch
from bench.data.pairs import Pairs
from bench.data.tokens import Tokens
from bench.errors import UserError
from bench.model.presets import build
from bench.negatives import Cost, Reader, Setting, source, view
from bench.progress import Display
from bench.record.store import RunDirectory
from bench.train.budget import Plan
from bench.train.config import TrainConfig
from bench.train.loop import Hooks, Trainer
from bench.train.material import NOBODY, Material, Texts, material
from bench.train.state import Progress
from strategies import Strategy
from strategies.examples import LabelledPairs
from strategies.negatives import Guide

if TYPE_CHECKING:
    from bench.run import RunConfig

log = logging.getLogger(__name__)


@dataclass
class Trained:
    """What training came to over all stages: pairs, texts and seconds of the steps, what mining cost beside them."""

    steps: int = 0
    pairs: int = 0
    texts: int = 0
    seconds: float = 0.0
    mined: Cost = field(default_factory=Cost)
    selection: dict[str, Any] = field(default_factory=dict)
    telemetry: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


@dataclass
class Stages:
    """The training of one run. ``start`` is the encoder with the data set's texts, left as the last stage's best.

    ``event`` gets history rows, their steps counted over all stages; ``evaluate`` searches the dev set.
    """

    config: RunConfig
    data: DataSet
    start: Reader
    directory: RunDirectory
    display: Display
    event: Callable[[dict[str, Any]], None]
    evaluate: Callable[[], dict[str, float]] | None

    def carry_out(self) -> Trained:
        """Train every stage, from its checkpoint where there is one. Raises what :meth:`Trainer.fit` raises."""
        stages = self.config.strategy.stages()
        result, before = Trained(), 0
        for number, stage in enumerate(stages):
            name = f"{_field(self.config.strategy, number)}/" if len(stages) > 1 else ""
            before = result.steps
            done, mined = self._stage(number, stage, result)
            result.steps += done.step
            result.pairs += done.pairs
            result.texts += done.texts
            result.seconds += done.seconds
            result.mined += mined + Cost(done.mine_s, done.mine_texts)
            result.telemetry |= {name + key: value / count for key, (value, count) in done.totals.items()}
            result.warnings += done.warnings
        chosen = done.best_step is not None
        result.selection = {
            "split": "dev" if chosen else None,
            "metric": self.config.eval.selection if chosen else None,
            "step": before + (done.best_step if done.best_step is not None else done.step),
            "value": done.best_value,
            "steps": result.steps,
        }
        return result

    def _stage(self, number: int, stage: Strategy, so_far: Trained) -> tuple[Progress, Cost]:
        """Train one stage; what it came to, and what was spent before its first step."""
        found = self._material(stage)
        train = self._settings(number, found)
        if not train.epochs or train.max_steps == 0:
            return Progress(), Cost()
        before = so_far.steps
        place = self.directory.stage(number)
        hooks = Hooks(
            event=lambda row: self.event({**row, "step": before + row["step"]}),
            progress=lambda step, total, rate: self.display.training(before + step, before + total, rate),
            evaluate=self.evaluate,
            selection=self.config.eval.selection,
            resumed=partial(self._resumed, number, before),
        )
        setting = self._setting(place)
        negatives = source(stage.negatives, setting)
        guide, cost = None, negatives.cost
        if asked := stage.guide or self._judge(stage):
            guide = view(asked, setting, np.union1d(found.pairs.positive, negatives.reach()))
            cost += guide.cost if stage.guide is not None else Cost()
        plan = self._plan(number, so_far, cost) if self.config.budget.declared else None
        seed, precision = self.config.seed, self.start.precision
        trainer = Trainer(
            self.start.encoder, stage, found, negatives, train, precision, seed, place, hooks, view=guide, plan=plan
        )
        return trainer.fit(), cost

    def _plan(self, number: int, so_far: Trained, cost: Cost) -> Plan:
        """When a stage ends whose mining and guides have ``cost`` already."""
        spent = Progress(
            step=so_far.steps,
            texts=so_far.texts,
            seconds=so_far.seconds,
            mine_s=so_far.mined.seconds + cost.seconds,
            mine_texts=so_far.mined.texts + cost.texts,
        )
        part = (number + 1) / len(self.config.strategy.stages())
        return self.config.budget.plan(part, self.config.train.batch_size, spent)

    def _judge(self, stage: Strategy) -> Guide | None:
        """Who estimates false negatives of a stage on labelled pairs; it is no part of what the run costs."""
        judge = self.config.mining.judge
        return Guide(judge) if judge and isinstance(stage.examples, LabelledPairs) else None

    def _resumed(self, number: int, before: int, step: int) -> None:
        """Forget the history after a resume's step, unless a later stage, which has rows of its own, goes on."""
        if self.directory.begun(number + 1):
            return
        self.directory.truncate_history(before + step if before + step else -1)
        if step:
            log.info("going on from step %d", before + step)

    def _material(self, stage: Strategy) -> Material:
        start, longest, seed = self.start, self.config.encoder.max_passage_tokens, self.config.seed
        return material(stage.examples, Texts(self.data, start.queries, start.passages, self._cut, longest, seed))

    def _settings(self, number: int, found: Material) -> TrainConfig:
        """The training settings of one stage: with ``stage_steps``, as many epochs as its steps need."""
        train = self.config.train
        if train.stage_steps is None or not train.epochs or train.max_steps == 0:
            return train
        steps = train.stage_steps[number]
        epoch = steps_per_epoch(len(found.pairs), train.batch_size)
        return replace(train, epochs=-(-steps // max(1, epoch)), max_steps=steps)

    def _setting(self, scratch: Path) -> Setting:
        pairs = Pairs(self.data.splits.get("train", NOBODY))
        seed, limits, task = self.config.seed, self.config.mining, self.display.task
        return Setting(self.data, pairs, seed, self._reader, scratch, cache_dir(), limits, task)

    def _reader(self, name: str) -> Reader:
        """The encoder of a name with the texts it reads; another one than the run's is held to its lengths."""
        return self.start if name in ("start", "current") else self._other(name)

    def _other(self, name: str) -> Reader:
        own = self.config.encoder
        settings = type(own)(
            name=name, max_query_tokens=own.max_query_tokens, max_passage_tokens=own.max_passage_tokens
        )
        try:
            encoder = build(settings, self.data.passages, self.start.encoder.device, self.config.seed)
        except UserError as error:
            raise UserError(
                f"{self.config.strategy.name} or mining.judge asks for the encoder {name!r}: {error}"
            ) from error
        tokens = [
            tokenize(texts, encoder.tokenizer, longest, cache=cache_dir())
            for texts, longest in (
                (self.data.queries, own.max_query_tokens),
                (self.data.passages, own.max_passage_tokens),
            )
        ]
        return Reader(encoder, tokens[0], tokens[1], self.start.precision)

    def _cut(self, texts: Sequence[str]) -> Tokens:
        own = self.config.encoder
        return tokenize(texts, self.start.encoder.tokenizer, own.max_passage_tokens, own.passage_prefix, cache_dir())


def _field(strategy: Strategy, number: int) -> str:
    return list(vars(strategy))[number]
