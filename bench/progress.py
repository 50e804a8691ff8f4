"""Progress of a run: a bar in a terminal, an occasional line elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from statistics import median
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

Advance = Callable[[int], None]
Task = Callable[[str, int | None], AbstractContextManager[Advance]]
"""Shows work with a name and a total; the value it yields is called with the amount done so far."""


def unwatched(name: str, total: int | None) -> AbstractContextManager[Advance]:
    """A task without a display."""
    return nullcontext(lambda count: None)


QUIET_S = 15.0  # seconds between two lines when the output is not a terminal


class Suite:
    """Progress of ``total`` runs: how many are done, the highest metric so far, and the estimated time left.

    The estimate is the median of the latest runs for each one left. There is none after a single run, since the first
    also fills the caches, and neither that run nor a failed one counts.
    """

    LATEST = 9

    def __init__(self, total: int = 0) -> None:
        self.total = total
        self.done = 0
        self._highest: dict[str, tuple[float, str]] = {}
        self._metric = ""
        self._seconds: list[float] = []

    def expect(self, left: int) -> None:
        """Set the number of runs that are left."""
        self.total = self.done + left

    def finished(
        self, label: str, metric: str, value: float | None, seconds: float | None, without: str = "failed"
    ) -> None:
        """Note a finished run, with a line on standard error unless it was skipped (``seconds`` is None).

        ``without`` says what a run without a ``value`` is.
        """
        self.done += 1
        self.total = max(self.total, self.done)
        if value is not None:
            self._metric = metric
            if value > self._highest.get(metric, (float("-inf"), ""))[0]:
                self._highest[metric] = value, label
        if seconds is None:
            return
        if value is not None:
            self._seconds.append(seconds)
        told = without if value is None else f"{metric} {value:.2f}"
        print(f"{label}: {told}, {_time(seconds)} ({self.status})", file=sys.stderr, flush=True)

    @property
    def status(self) -> str:
        """``3 of 9 done, highest recall@1 64.20 of mined_hard seed 1, about 12 min left``."""
        parts = [f"{self.done} of {self.total} done"]
        if self._metric in self._highest:
            value, label = self._highest[self._metric]
            parts.append(f"highest {self._metric} {value:.2f} of {label}")
        if len(self._seconds) > 1 and self.done < self.total:
            typical = median(self._seconds[1:][-self.LATEST :])
            parts.append(f"about {_time((self.total - self.done) * typical)} left")
        return ", ".join(parts)


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class Display:
    """Progress of one run on standard error, so that results can be piped; ``title`` begins every label.

    A ``suite`` adds a line with the progress of all runs; ``quiet`` shows nothing. Use it as ``with Display() as
    display:``, which restores the terminal in any case. A dev evaluation can be shown during training: both are rows of
    one display, because a terminal can have only one.
    """

    def __init__(self, title: str = "", suite: Suite | None = None, quiet: bool = False) -> None:
        self.title = title
        self.suite = suite
        self.quiet = quiet
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            redirect_stdout=False,
            disable=quiet or not sys.stderr.isatty(),
        )
        self._training: TaskID | None = None
        self._said = monotonic()

    def __enter__(self) -> Display:
        self._bars.start()
        if self.suite is not None:
            self._bars.add_task(self.suite.status, total=self.suite.total, completed=self.suite.done, rate="")
        return self

    def __exit__(self, *raised: object) -> None:
        self._bars.stop()

    @contextmanager
    def task(self, name: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        """Show ``name`` while the block runs; the value it yields is called with the amount done so far."""
        label, done = f"{self.title}{name}", 0
        task = self._bars.add_task(label, total=total, rate="")

        def advance(count: int) -> None:
            nonlocal done
            done += count
            self._bars.update(task, completed=done)
            self._line(f"{label}: {done}" + (f"/{total}" if total else ""))

        try:
            yield advance
        finally:
            self._bars.remove_task(task)

    def training(self, step: int, total: int, rate: float) -> None:
        """Show that training is at ``step`` of ``total``, at ``rate`` pairs a second."""
        if self._training is None:
            self._training = self._bars.add_task(f"{self.title}train", total=total, rate="")
        self._bars.update(self._training, completed=step, total=total, rate=f"{rate:.0f} pairs/s")
        self._line(f"{self.title}train: step {step}/{total}, {rate:.0f} pairs/s")

    def _line(self, text: str) -> None:
        """Print a line where there are no bars, if the last line is some time ago."""
        if self._bars.disable and not self.quiet and monotonic() - self._said >= QUIET_S:
            self._said = monotonic()
            print(text, file=sys.stderr, flush=True)
