"""Whether what a strategy declares can act, as far as the settings say: its steps and its batches suffice."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from operator import attrgetter

from bench.config.run import RunConfig
from bench.data.dataset import DataSet
from bench.data.pairs import Pairs
from bench.errors import Impossible
from bench.train.trainer import total_steps
from strategies.examples import LabelledPairs
from strategies.negatives import InBatch


def step_limits(config: RunConfig) -> dict[str, int]:
    """For each knob that counts steps, by its key, the highest value with which the mechanism acts.

    A knob is missing where the settings do not say how many steps its stage has.
    """
    limits = {}
    for key, _, number in _counting(config):
        steps = _steps(config, number)
        if steps is None:
            steps = _steps_by_texts(config, number)
        if steps is not None:
            limits[key] = steps - 1
    return limits


def check_mechanism(config: RunConfig, data: DataSet | None = None, varied: Collection[str] = ()) -> None:
    """Raise :class:`Impossible` when training would end before a mechanism acts, or a query would have no negative.

    ``data`` says how many steps an epoch has. ``varied`` are keys that a study sets in each run.
    """
    train = config.train
    if train.trains and train.batch_size == train.groups and not {"train.batch_size", "train.groups"} & set(varied):
        for stage in config.strategy.stages():
            if isinstance(stage.negatives, InBatch) and not stage.negatives.queue:
                raise Impossible(
                    f"train.batch_size={train.batch_size} leaves every query of {stage.name} alone in its "
                    f"{'batch' if train.groups == 1 else 'group'}, so it has no negative; raise train.batch_size"
                )
    for key, value, number in _counting(config):
        steps = _steps(config, number, data)
        if steps is not None and value >= steps and key not in varied:
            raise Impossible(
                f"{key}={value}, but training has {steps} steps, so the mechanism of {config.strategy.name} would "
                f"never act; set {key} below {steps}, or train for more steps"
            )


def _counting(config: RunConfig) -> Iterator[tuple[str, int, int]]:
    """Every knob that counts steps: its key, its value, and the number of its stage."""
    if not config.train.trains:
        return
    for number, (name, stage) in enumerate(zip(config.strategy.stage_names(), config.strategy.stages(), strict=True)):
        place = name and f"{name}."
        for knob in stage.knobs():
            if knob.counts_steps:
                yield f"strategy.{place}{knob.name}", attrgetter(knob.name)(stage), number


def _steps_by_texts(config: RunConfig, number: int) -> int | None:
    """About how many steps a stage has within a budget of texts: each pair has a query, a positive and its negatives.

    Mining takes texts too, so there are fewer; where passages repeat within a batch there are more.
    """
    if config.budget.texts is None:
        return None
    stages = config.strategy.stages()
    texts = config.train.batch_size * (2 + stages[number].negatives.n)
    return max(1, int(config.budget.texts / len(stages) / texts))


def _steps(config: RunConfig, number: int, data: DataSet | None = None) -> int | None:
    """The most steps that a stage can have."""
    stages, train = config.strategy.stages(), config.train
    if config.budget.declared:
        total = config.budget.total_steps(train.batch_size)
        return total and total * (number + 1) // len(stages) - total * number // len(stages)
    if train.stage_steps is not None:
        return train.stage_steps[number]
    if data is not None and "train" in data.splits and isinstance(stages[number].examples, LabelledPairs):
        return total_steps(train, len(Pairs.of(data)))
    return train.max_steps
