"""What a person sees while a run goes on: a bar in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

log = logging.getLogger(__name__)

QUIET_S = 15.0  # seconds between two lines when the output is not a terminal


class Display:
    """Progress of one run after another, on standard error so that results can be piped."""

    def __init__(self, title: str = "") -> None:
        self.title = title
        self.live = sys.stderr.isatty()
        self._progress: Progress | None = None
        self._said = monotonic()

    @contextmanager
    def task(self, name: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        """Show ``name`` while the block runs; the value yielded is told how much got done."""
        done = 0
        label = f"{self.title}{name}"
        if not self.live:

            def tell(count: int) -> None:
                nonlocal done
                done += count
                self._line(f"{label}: {done}/{total}")

            yield tell
            return
        with self._bar() as bar:
            task = bar.add_task(label, total=total, rate="")
            yield lambda count: bar.advance(task, count)

    def training(self, step: int, total: int, rate: float) -> None:
        """Show that training has come to ``step`` of ``total`` at ``rate`` pairs a second."""
        if not self.live:
            self._line(f"{self.title}train: step {step}/{total}, {rate:.0f} pairs/s")
            return
        if self._progress is None:
            self._progress = self._bar()
            self._progress.start()
            self._progress.add_task(f"{self.title}train", total=total)
        self._progress.update(self._progress.task_ids[0], completed=step, rate=f"{rate:.0f} pairs/s")
        if step == total:
            self._progress.stop()
            self._progress = None

    def _bar(self) -> Progress:
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )

    def _line(self, text: str) -> None:
        if monotonic() - self._said >= QUIET_S:
            self._said = monotonic()
            print(text, file=sys.stderr, flush=True)
