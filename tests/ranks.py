"""Several ranks of one run faked on one CPU: a thread each, and collectives that wait for all of them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any, TypeVar

import torch
from torch import Tensor

from bench.train.processes import OfAll
from bench.world import World

T = TypeVar("T")


class Meeting:
    """Where ranks meet: each puts something down, all see what the others put."""

    def __init__(self, size: int) -> None:
        self.places: list[Any] = [None] * size
        self.barrier = Barrier(size, timeout=60)

    def exchange(self, rank: int, value: Any) -> list[Any]:
        self.places[rank] = value
        self.barrier.wait()
        seen = list(self.places)
        self.barrier.wait()
        return seen


class Rank(World):
    """One of several ranks, which are threads."""

    def __init__(self, rank: int, meeting: Meeting) -> None:
        self.rank, self.size, self.meeting = rank, len(meeting.places), meeting

    def gather(self, tensor: Tensor) -> list[Tensor]:
        parts: list[Tensor] = self.meeting.exchange(self.rank, tensor.detach().clone())
        if tensor.requires_grad:
            parts[self.rank] = OfAll.apply(tensor, self.size)  # type: ignore[no-untyped-call]
        return parts

    def sum(self, tensor: Tensor) -> Tensor:
        parts: list[Tensor] = self.meeting.exchange(self.rank, tensor.detach().clone())
        return torch.stack(parts).sum(0)

    def broadcast(self, value: T) -> T:
        first: T = self.meeting.exchange(self.rank, value)[0]
        return first


def together(size: int, work: Callable[[World], T]) -> list[T]:
    """What ``work`` gives on each of ``size`` ranks."""
    meeting = Meeting(size)

    def one(rank: int) -> T:
        try:
            return work(Rank(rank, meeting))
        except BaseException:
            meeting.barrier.abort()  # else the others wait for this one
            raise

    with ThreadPoolExecutor(size) as pool:
        return [done.result() for done in [pool.submit(one, rank) for rank in range(size)]]
