"""Work shared out among threads, each on one core with operations of one thread.

Threads inside an operation meet at its end. Where another program takes a core, each small operation then waits for it.
Threads that have texts of their own meet once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import torch

from bench import cores

A = TypeVar("A")
T = TypeVar("T")


def share_out(
    task: Callable[[A], T],
    items: Sequence[A],
    workers: int,
    within: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> list[T]:
    """``task`` of each item, in the order of the items; a worker that is free takes the next one.

    The calling thread is one of the workers. The others take over whether gradients are kept, and nothing else that
    torch keeps by thread: each worker enters ``within`` for all its tasks, such as autocast, which converts the weights
    once while it lasts. The first error is raised, once no task runs any more.
    """
    workers = min(workers, len(items))
    if workers <= 1:
        with within():
            return [task(item) for item in items]
    todo, lock = iter(enumerate(items)), threading.Lock()
    found: dict[int, T] = {}
    errors: list[BaseException] = []
    grad = torch.is_grad_enabled()

    def work() -> None:
        with torch.set_grad_enabled(grad), within():
            while not errors:
                with lock:
                    place, item = next(todo, (-1, None))
                if place < 0:
                    return
                try:
                    found[place] = task(item)  # type: ignore[arg-type]
                except BaseException as error:
                    errors.append(error)

    with one_thread():
        others = [threading.Thread(target=work, name=f"worker-{n}") for n in range(1, workers)]
        for other in others:
            other.start()
        try:
            work()
        finally:
            for other in others:
                other.join()
    if errors:
        raise errors[0]
    return [found[place] for place in range(len(items))]


def one_thread() -> AbstractContextManager[None]:
    """Operations of torch run in one thread within the block, in this thread and in those started there."""
    return cores.limited(1, torch.get_num_threads, torch.set_num_threads)
