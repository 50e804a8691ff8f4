"""Devices that gather their batches against one device that has them all."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from threading import current_thread
from typing import Any

import numpy as np
import pytest
import torch
from ranks import together
from torch import Tensor
from toys import MNR, Training, unit

from bench.data.dataset import Ragged, Split
from bench.data.pairs import Pairs
from bench.train import checkpoint
from bench.train.batch import Embedded, Surroundings, to_batch
from bench.train.learner import Learner
from bench.train.queue import PassageQueue
from bench.train.step import Objective, Stepper
from bench.world import World
from strategies import find, registered

PAIRS = Pairs(Split(np.arange(8), Ragged.of([[0, 9], [1], [2, 3], [3], [4, 0], [5], [6], [7]])))


def embedded(queries: list[int], own: bool) -> Embedded:
    """One device's part: each id always has the same embedding, as with one encoder."""
    positives = [int(PAIRS.split.relevant[q][0]) for q in queries]
    sampled = [[(q + 5) % 10, 9] for q in queries] if own else []
    passages = sorted({*positives, *(p for row in sampled for p in row)})
    return Embedded(
        unit(8, 6)[queries].requires_grad_(), unit(10, 6, seed=1)[passages].requires_grad_(),
        torch.tensor(queries), torch.tensor(positives), torch.tensor(passages),
        torch.tensor(sampled) if own else None,
    )  # fmt: skip


class Other(World):
    """What collectives give one rank, the tensors of the others being known: its own part with its gradient."""

    def __init__(self, mine: Embedded, everyone: list[Embedded]) -> None:
        self.mine, self.everyone = mine, everyone
        self.rank, self.size = next(n for n, part in enumerate(everyone) if part is mine), len(everyone)

    def gather(self, tensor: Tensor) -> list[Tensor]:
        (name,) = (f.name for f in fields(self.mine) if getattr(self.mine, f.name) is tensor)
        return [tensor if part is self.mine else getattr(part, name).detach() for part in self.everyone]


def around(world: World | None = None) -> Surroundings:
    return Surroundings(world or World(), PassageQueue(0, 0))


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("split", [([0, 1, 4], [3, 2, 7, 6]), ([5, 4], [0, 2]), ([3], [3, 1])])
def test_devices_together_are_one_device(split: tuple[list[int], list[int]], own: bool) -> None:
    """[0, 1, 4] and [3, 2, ...] are alone with their passages; 4 and 0 share one, and 3 is on both."""
    union = embedded([*split[0], *split[1]], own)
    whole = to_batch(union, PAIRS, around())
    wanted = MNR.loss(whole)
    wanted.value.backward()
    columns = union.passage_ids.tolist()
    everyone = [embedded(queries, own) for queries in split]
    begin, seen = 0, set()
    for mine in everyone:
        batch = to_batch(mine, PAIRS, around(Other(mine, everyone)))
        for name in ("queries", "candidates", "positive", "relevant", "own"):
            torch.testing.assert_close(getattr(batch, name), getattr(whole, name), rtol=0, atol=0)
        loss = MNR.loss(batch)
        torch.testing.assert_close(loss.per_example, wanted.per_example)
        loss.value.backward()
        end = begin + len(mine.queries)
        torch.testing.assert_close(mine.queries.grad, union.queries.grad[begin:end])
        for row, passage in enumerate(mine.passage_ids.tolist()):
            gradient = union.passages.grad[columns.index(passage)]
            first = passage not in seen
            torch.testing.assert_close(mine.passages.grad[row], gradient if first else torch.zeros_like(gradient))
        seen |= set(mine.passage_ids.tolist())
        begin = end


# Whole trainings over faked ranks


@pytest.fixture(params=[*sorted(registered()), "mined_hard:spread_out"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def ready(size: int, name: str, **changes: Any) -> list[Training]:
    """Trainings whose weights are there already: threads share the random state that new ones are drawn from."""
    trainings = [Training(find(name)(), dropout=0.0, **changes) for _ in range(size)]
    assert all(training.another and training.first for training in trainings)
    return trainings


def of_ranks(name: str, size: int, place: Path, **changes: Any) -> list[Training]:
    """A training of three uneven steps on ``size`` ranks, each with an encoder of its own that starts the same."""
    trainings = ready(size, name, directory=place, **changes)

    def work(world: World) -> Training:
        training = trainings[world.rank]
        training.fit(world=world)
        return training

    return together(size, work)


def test_two_ranks_train_as_one_device_with_the_whole_batch(name: str, tmp_path: Path) -> None:
    (alone,) = of_ranks(name, 1, tmp_path / "alone", max_steps=3)
    first, second = of_ranks(name, 2, tmp_path / "ranks", max_steps=3)
    start = Training(find(name)(), dropout=0.0).encoder.state_dict()
    for key, value in alone.encoder.state_dict().items():
        assert torch.equal(first.encoder.state_dict()[key], second.encoder.state_dict()[key]), f"ranks differ in {key}"
        if re.search(r"\.key\.bias$", key):
            continue  # its gradient is zero but for rounding, of which Adam makes whole steps
        moved = (value - start[key]).abs().max().item() if value.is_floating_point() else 0.0
        torch.testing.assert_close(first.encoder.state_dict()[key], value, rtol=0, atol=0.02 * moved + 1e-7, msg=key)


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("rows", [7, 1], ids=lambda rows: f"{rows} examples")
def test_gradients_of_ranks_are_that_of_one_device(name: str, rows: int, cached: bool) -> None:
    """Also where the batch is uneven, and where a rank has no example of it at all."""

    trainings = ready(3, name, micro_batch=5 if cached else None)

    def begun(training: Training) -> tuple[Learner, Objective]:
        stage = training.strategy.stages()[-1]
        objective = training.objective(stage, training.directory)
        if objective.sampler.due(0):
            objective.sampler.refresh(0)
        return training.learner(stage), objective

    waiting = [begun(training) for training in trainings]  # new weights are drawn from what all threads share

    def gradients(world: World) -> dict[str, Tensor]:
        learner, objective = waiting.pop()
        examples = np.arange(rows)
        Stepper(learner, objective, "fp32", trainings[0].micro_batch, world).backward(
            examples, objective.sampler.draw(examples, 0)
        )
        return {key: p.grad.clone() for key, p in learner.named_parameters() if p.grad is not None}

    (alone,) = together(1, gradients)
    largest = max(gradient.abs().max().item() for gradient in alone.values())
    for of_rank in together(2, gradients):
        for key, gradient in of_rank.items():
            wanted = alone.get(key, torch.zeros_like(gradient))
            torch.testing.assert_close(gradient, wanted, rtol=0, atol=1e-4 * largest + 1e-7, msg=key)


def test_only_the_first_rank_writes_and_is_asked(tmp_path: Path) -> None:
    asked: list[int] = []
    trainings = ready(2, "mnr", directory=tmp_path, max_steps=4, save_every=1, eval_every=2)
    for training in trainings:
        training.strategy = registered()["ance"](refresh=2, last=10)

    def work(world: World) -> Training:
        def evaluate() -> dict[str, float]:
            if not world.first:
                return {}
            asked.append(world.rank)
            return {"exact/mrr@10": float(len(asked))}

        trainings[world.rank].fit(world=world, evaluate=evaluate)
        return trainings[world.rank]

    written: list[tuple[str, str]] = []
    plain = checkpoint.write

    def write(path: Path, state: dict[str, Any]) -> None:
        written.append((path.name, current_thread().name))
        plain(path, state)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "write", write)
        first, second = together(2, work)
    assert asked == [0, 0] and len({thread for _, thread in written}) == 1
    assert first.events and not second.events
    for key, value in first.encoder.state_dict().items():
        assert torch.equal(value, second.encoder.state_dict()[key]), f"ranks differ in {key}"


def test_a_resume_gives_every_rank_its_own_dropout_back(tmp_path: Path) -> None:
    """Threads share one random state, so it is watched rather than drawn from: who saved what, and who gets it."""
    states = {rank: torch.full((8,), rank, dtype=torch.uint8) for rank in range(2)}
    got: dict[int, Tensor] = {}

    def work(world: World) -> None:
        gathered = world.gather(states[world.rank])
        got[world.rank] = gathered[world.rank]

    together(2, work)
    assert {rank: int(state[0]) for rank, state in got.items()} == {0: 0, 1: 1}


def test_a_rank_s_share_follows_the_one_before_and_all_shares_are_the_batch() -> None:
    for rows in (0, 1, 5, 16):
        shares = together(3, lambda world, rows=rows: world.share(np.arange(rows)))
        assert np.concatenate(shares).tolist() == list(range(rows))
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_alone_everything_is_what_it_was() -> None:
    tensor = torch.ones(2, requires_grad=True)
    world = World()
    assert world.gather(tensor)[0] is tensor and world.sum(tensor) is tensor and world.broadcast("x") == "x"
    assert world.first and world.share(np.arange(3)).tolist() == [0, 1, 2]
