"""Ranks that are processes, one a device: ``torch.distributed`` with NCCL on GPUs and gloo on CPUs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import pairwise
from threading import Thread
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from bench.world import World

T = TypeVar("T")
LEFT_ALONE = 76
"""The exit status of a process that another one has left; why it did so is the other one's to say."""
WATCHES = "NEGBENCH_LAUNCHED"
"""Set in the environment of ranks whose standard input is a pipe from the process that started them."""

# A rank waits for the first one while it mines or evaluates. One that dies is noticed by who started it.
PATIENCE = timedelta(days=2)


class OfAll(torch.autograd.Function):
    """A rank's own part of what was gathered: as all ranks compute the same loss, its gradient comes once for each."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, ranks: int) -> Tensor:
        ctx.ranks = ranks
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad * ctx.ranks, None


class Processes(World):
    """The processes of the group that :func:`join` has joined."""

    def __init__(self) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.device = torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")

    @contextmanager
    def _meeting(self) -> Iterator[None]:
        """Raise ``SystemExit`` with :data:`LEFT_ALONE` where another process is gone."""
        try:
            yield
        except RuntimeError as error:  # of gloo; NCCL's is one, too
            raise SystemExit(LEFT_ALONE) from error

    def gather(self, tensor: Tensor) -> list[Tensor]:
        own = tensor.detach().to(self.device)
        count = torch.tensor([len(own)], device=self.device)
        counts = [torch.empty_like(count) for _ in range(self.size)]
        with self._meeting():
            dist.all_gather(counts, count)
        longest = max(int(c) for c in counts)
        padded = own.new_zeros((longest, *own.shape[1:]))
        padded[: len(own)] = own
        found = [torch.empty_like(padded) for _ in range(self.size)]
        with self._meeting():
            dist.all_gather(found, padded)
        parts = [part[: int(c)].to(tensor.device) for part, c in zip(found, counts, strict=True)]
        if tensor.requires_grad:
            parts[self.rank] = OfAll.apply(tensor, self.size)  # type: ignore[no-untyped-call]
        return parts

    def sum(self, tensor: Tensor) -> Tensor:
        total = tensor.detach().to(self.device, copy=True)
        with self._meeting():
            dist.all_reduce(total)
        return total.to(tensor.device)

    def broadcast(self, value: T) -> T:
        box: list[Any] = [value]
        with self._meeting():
            dist.broadcast_object_list(box, device=self.device)
        found: T = box[0]
        return found

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its mean over ranks, all in one message."""
        trained = [p for p in parameters if p.requires_grad]
        own = [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in trained]
        mean = self.sum(torch.cat(own)) / self.size
        ends = torch.tensor([0, *(len(part) for part in own)]).cumsum(0).tolist()
        for parameter, (start, end) in zip(trained, pairwise(ends), strict=True):
            parameter.grad = mean[start:end].view_as(parameter)


def asked_for() -> int:
    """The number of processes of which this is one, as ``torchrun`` or ``bench run devices=N`` started it; else 1."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def join() -> World:
    """The world of this process: one rank alone, or the group of all that were started together."""
    if asked_for() == 1:
        return World()
    if WATCHES in os.environ:
        Thread(target=_end_with_launcher, name="launcher", daemon=True).start()
    if not dist.is_initialized():
        gpus = torch.cuda.is_available()
        if gpus:
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        dist.init_process_group("nccl" if gpus else "gloo", timeout=PATIENCE)
    return Processes()


def _end_with_launcher() -> None:
    """End this process once the one that started it is gone, which closes the pipe that is its standard input."""
    os.read(0, 1)  # of sys.stdin a thread would keep the lock
    if os.environ["RANK"] == "0":
        print("the process that started this run is gone, so it ends; the same command goes on", file=sys.stderr)
        sys.stderr.flush()
    os._exit(LEFT_ALONE)


def leave() -> None:
    """Leave the group, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()
