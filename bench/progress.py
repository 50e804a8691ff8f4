"""What a person sees while a run goes on: a bar in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

QUIET_S = 15.0  # seconds between two lines when the output is not a terminal


class Display:
    """Progress of one run on standard error, so that results can be piped; ``title`` begins every label.

    ``with Display() as display:`` gives the terminal back whatever happens. A dev evaluation may be shown
    while training is: both are rows of the one display that a terminal can have.
    """

    def __init__(self, title: str = "") -> None:
        self.title = title
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            redirect_stdout=False,
            disable=not sys.stderr.isatty(),
        )
        self._training: TaskID | None = None
        self._said = monotonic()

    def __enter__(self) -> Display:
        self._bars.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._bars.stop()

    @contextmanager
    def task(self, name: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        """Show ``name`` while the block runs; the value yielded is told how much got done."""
        label, done = f"{self.title}{name}", 0
        task = self._bars.add_task(label, total=total, rate="")

        def advance(count: int) -> None:
            nonlocal done
            done += count
            self._bars.update(task, completed=done)
            self._line(f"{label}: {done}/{total}")

        try:
            yield advance
        finally:
            self._bars.remove_task(task)

    def training(self, step: int, total: int, rate: float) -> None:
        """Show that training has come to ``step`` of ``total`` at ``rate`` pairs a second."""
        if self._training is None:
            self._training = self._bars.add_task(f"{self.title}train", total=total, rate="")
        self._bars.update(self._training, completed=step, total=total, rate=f"{rate:.0f} pairs/s")
        self._line(f"{self.title}train: step {step}/{total}, {rate:.0f} pairs/s")

    def _line(self, text: str) -> None:
        """Say it where there are no bars, if nothing was said for a while."""
        if self._bars.disable and monotonic() - self._said >= QUIET_S:
            self._said = monotonic()
            print(text, file=sys.stderr, flush=True)
