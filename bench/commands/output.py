"""Where a command writes: results to standard out, everything else to standard error."""

from __future__ import annotations

import logging
import sys

from rich.console import Console

PIPED_WIDTH = 100


class _Stderr(logging.Handler):
    """Writes to whatever standard error is at the time, so that a line stands above a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr)


def console() -> Console:
    """Standard out, 100 columns wide when piped; brackets and colons in texts are not markup."""
    width = None if sys.stdout is not None and sys.stdout.isatty() else PIPED_WIDTH
    return Console(width=width, highlight=False, markup=False, emoji=False)


def show_logs() -> None:
    """This project's log lines on standard error, and of other libraries errors only."""
    logging.basicConfig(level=logging.ERROR, format="%(message)s", handlers=[_Stderr()])
    logging.getLogger("bench").setLevel(logging.INFO)
