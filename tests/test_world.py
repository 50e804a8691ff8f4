"""Devices that gather their batches against one device that has them all."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch
from torch import Tensor
from toys import MNR, unit

from bench.data.dataset import Ragged, Split
from bench.data.pairs import Pairs
from bench.train.batch import Embedded, Surroundings, to_batch
from bench.train.queue import PassageQueue
from bench.train.world import World

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
