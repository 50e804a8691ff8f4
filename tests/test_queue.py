"""PassageQueue of earlier batches: which passages are remembered, and when they are candidates."""

from __future__ import annotations

import numpy as np
import torch
from toys import PAIRS, TRAIN, Training

from bench.train.queue import PassageQueue
from strategies import registered


def test_the_newest_passages_are_remembered_once_each() -> None:
    memory = PassageQueue(size=4, warmup=2)
    unit = lambda *values: torch.tensor([[float(value)] for value in values])  # noqa: E731
    memory.keep(torch.tensor([1, 2]), unit(1, 2))
    assert memory.recall() is None, "the warm-up is not over"
    memory.keep(torch.tensor([3, 1]), unit(3, 10).requires_grad_())
    ids, vectors = memory.recall()
    assert ids.tolist() == [3, 1, 2] and vectors.ravel().tolist() == [3, 10, 2] and not vectors.requires_grad
    memory.keep(torch.tensor([5, 6]), unit(5, 6))
    assert memory.recall()[0].tolist() == [5, 6, 3, 1]
    other = PassageQueue(size=4, warmup=2)
    other.restore(memory.state(), torch.device("cpu"))
    assert other.recall()[0].tolist() == [5, 6, 3, 1] and other.steps == 3


def test_without_a_size_nothing_is_remembered() -> None:
    memory = PassageQueue(0, 0)
    memory.keep(torch.tensor([1]), torch.ones(1, 2))
    assert memory.recall() is None


def test_remembered_passages_are_candidates_until_they_are_in_the_batch_again() -> None:
    training = Training(registered()["queue"](size=64, warmup=0))
    stepper = training.stepper()
    second = PAIRS.query[6:14]
    stepper.backward(np.arange(8), None)
    batch, _ = stepper.backward(np.arange(6, 14), None)
    assert batch.candidates.shape[0] == len(np.unique(PAIRS.positive[:14]))
    for q, query in enumerate(second):
        columns = np.unique(PAIRS.positive[:14])[batch.relevant[q].numpy()]
        row = int(np.flatnonzero(TRAIN.queries == query)[0])
        assert set(columns) == set(TRAIN.relevant[row].tolist()) & set(PAIRS.positive[:14].tolist())
