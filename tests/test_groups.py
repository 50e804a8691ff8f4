"""A batch in groups is so many separate batches: on one device, on two, and in a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ranks import together
from test_processes import calm
from tiny import bench, words_for, write_data
from tiny_runs import record_of, runs_in
from torch import Tensor
from toys import MNR, Training

from bench.negatives import Drawn
from bench.train.groups import Groups
from bench.train.step import Objective, Stepper
from bench.world import World
from strategies import LabelledBatch, registered

Gradients = dict[str, Tensor]


def made_ready(name: str, place: Path, micro_batch: int | None = None) -> tuple[Training, Objective]:
    training = Training(calm(name), directory=place, dropout=0.0, micro_batch=micro_batch)
    stage = training.strategy.stages()[-1]
    objective = training.objective(stage, place)
    if objective.sampler.due(0):
        objective.sampler.refresh(0)
    return training, objective


def stepper_of(training: Training, objective: Objective, groups: int, world: World | None = None) -> Stepper:
    learner = training.learner(objective.strategy)
    learner.zero_grad()
    return Stepper(learner, objective, "fp32", training.micro_batch, world, groups)


def gradients(stepper: Stepper) -> Gradients:
    return {name: p.grad.clone() for name, p in stepper.learner.named_parameters() if p.grad is not None}


def assert_close(found: Gradients, wanted: Gradients) -> None:
    largest = max(gradient.abs().max().item() for gradient in wanted.values())
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, rtol=0, atol=1e-4 * largest + 1e-7, msg=name)


@pytest.mark.parametrize("micro_batch", [None, 5])
@pytest.mark.parametrize("rows", [16, 7])
@pytest.mark.parametrize("name", [*registered(), "mined_hard:spread_out"])
def test_the_gradient_is_the_mean_of_separate_batches(
    name: str, rows: int, micro_batch: int | None, tmp_path: Path
) -> None:
    """Of uneven groups each example counts as much."""
    training, objective = made_ready(name, tmp_path, micro_batch)
    drawn = objective.sampler.draw(np.arange(rows), 0)
    together_ = stepper_of(training, objective, 3)
    batch, loss = together_.backward(np.arange(rows), drawn)
    found = gradients(together_)
    assert isinstance(batch, Groups) and len(batch.groups) == 3

    terms, mean = [], dict[str, Tensor]()
    for places in np.array_split(np.arange(rows), 3):
        alone = stepper_of(training, objective, 1)
        own = None if drawn is None else drawn.take(places)
        _, part = alone.backward(places, own)
        share = len(part.per_example) / len(loss.per_example)
        terms.append(part.per_example)
        for key, gradient in gradients(alone).items():
            mean[key] = mean.get(key, torch.zeros_like(gradient)) + share * gradient
    torch.testing.assert_close(loss.per_example, torch.cat(terms), rtol=1e-4, atol=1e-5)
    assert_close(found, mean)


@pytest.mark.parametrize("groups", [2, 3])
@pytest.mark.parametrize("name", [*registered(), "mined_hard:spread_out"])
def test_two_ranks_train_as_one_device(name: str, groups: int, tmp_path: Path) -> None:
    """Also where a group has a single example, of which one rank has none."""
    steppers = [stepper_of(*made_ready(name, tmp_path / str(number)), groups) for number in range(3)]

    def work(world: World) -> Gradients:
        before = steppers.pop()  # threads share the random state that a head's weights are drawn from
        stepper = Stepper(before.learner, before.objective, "fp32", None, world, groups)
        rows = np.arange(5)
        stepper.backward(rows, stepper.objective.sampler.draw(rows, 0))
        return gradients(stepper)

    (alone,) = together(1, work)
    for of_rank in together(2, work):
        assert_close(of_rank, alone)


def test_a_query_has_the_negatives_of_its_group_alone(tmp_path: Path) -> None:
    training, objective = made_ready("random_global", tmp_path)
    rows = np.arange(12)
    drawn = objective.sampler.draw(rows, 0)
    assert isinstance(drawn, Drawn)
    batch, _ = stepper_of(training, objective, 4).backward(rows, drawn)
    assert isinstance(batch, Groups)
    for number, group in enumerate(batch.groups):
        assert not isinstance(group.batch, LabelledBatch)
        own = rows[3 * number : 3 * number + 3]
        texts = {*training.pairs.positive[own].tolist(), *drawn.ids[own].ravel().tolist()}
        assert group.batch.candidates.shape[0] == len(texts) and len(group.batch.queries) == 3


def test_each_group_has_a_queue_of_its_own_passages(tmp_path: Path) -> None:
    training, objective = made_ready("queue", tmp_path)
    stepper = stepper_of(training, objective, 2)
    stepper.backward(np.arange(8), None)
    kept = [set(queue.ids.tolist()) for queue in stepper.queues]
    assert kept == [set(training.pairs.positive[part].tolist()) for part in (range(4), range(4, 8))]
    assert [queue.steps for queue in stepper.queues] == [1, 1]


def test_fewer_examples_than_groups(tmp_path: Path) -> None:
    training = Training(MNR, directory=tmp_path, dropout=0.0)
    objective = training.objective(MNR, tmp_path)
    batch, loss = stepper_of(training, objective, 4).backward(np.arange(2), None)
    assert isinstance(batch, Groups) and len(batch.groups) == 2
    assert loss.per_example.tolist() == [0.0, 0.0]  # nothing to tell apart


def test_a_run_in_groups(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_data(tmp_path / "data")
    given = words_for(data, tmp_path / "runs") | {"train.batch_size": "8"}
    words = [f"{key}={value}" for key, value in given.items()]
    assert bench("run", *words, "train.groups=1,4") == 0
    negatives = {}
    for path in runs_in(tmp_path / "runs").values():
        record = record_of(path)
        assert record.training is not None
        negatives[record.config["train"]["groups"]] = record.training["telemetry"]["negatives"]
    assert negatives[4] < 1.01 < negatives[1]
    assert bench("run", *words, "train.groups=9") == 2
    assert "train.groups=9, but train.batch_size=8 has fewer pairs" in capsys.readouterr().err
