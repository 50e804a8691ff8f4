"""How a command ends: with a result, with one message for the person, or interrupted."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from bench.errors import UserError, message


@contextmanager
def reporting_errors(debug: bool) -> Iterator[None]:
    """Print an error that is no bug as one message with status 2, and an interruption as one line with status 130."""
    try:
        yield
    except (UserError, OSError, MemoryError) as error:
        told = message(error)
        if debug or told is None:
            raise
        print(f"bench: {told}", file=sys.stderr)
        raise SystemExit(2) from None
    except (KeyboardInterrupt, SystemExit) as end:
        # Typer turns an interruption into a silent exit with status 130.
        if isinstance(end, SystemExit) and end.code != 130:
            raise
        if debug:
            raise
        print("bench: interrupted; the same command continues a run from its last checkpoint", file=sys.stderr)
        raise SystemExit(130) from None
