"""Output of commands: results go to standard output, everything else to standard error."""

from __future__ import annotations

import logging
import sys

from rich.console import Console

from bench.progress import Suite
from bench.record.record import Record

PIPED_WIDTH = 100


class Stderr(logging.Handler):
    """Writes to the current standard error, so that a line appears above a progress bar.

    What is said of the data (``of_data``) is the same for all runs of a sweep, and written once.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said: set[tuple[str, str]] = set()

    def emit(self, record: logging.LogRecord) -> None:
        if (of_data := getattr(record, "of_data", None)) is not None:
            line = (of_data, record.getMessage())
            if line in self._said:
                return
            self._said.add(line)
        print(self.format(record), file=sys.stderr)


def note_finished(suite: Suite, label: str, record: Record, seconds: float | None) -> None:
    """Note a finished run in the progress of all; an invalid one has no value. ``seconds`` is None for a skipped one.

    Values on dev are not mixed with others.
    """
    metric = record.evaluation_schema.headline
    value, without = record.metrics.get(metric), "failed"
    if record.invalid:
        value, without = None, "invalid"
    suite.finished(label, f"dev {metric}" if record.split == "dev" else metric, value, seconds, without)


def console() -> Console:
    """Standard output, 100 columns wide when piped; brackets and colons in texts are not markup."""
    width = None if sys.stdout is not None and sys.stdout.isatty() else PIPED_WIDTH
    return Console(width=width, highlight=False, markup=False, emoji=False)


def show_logs() -> None:
    """Show this project's log lines on standard error, and only errors of other libraries."""
    logging.basicConfig(level=logging.ERROR, format="%(message)s", handlers=[Stderr()])
    logging.getLogger("bench").setLevel(logging.INFO)
