"""How a command ends: with a result, with one message for the person, or interrupted."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from bench.errors import UserError, short


def message(error: BaseException) -> str | None:
    """What to tell the person of an error that is no bug: theirs, or one of the operating system; else None."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, MemoryError):
        return f"not enough memory ({error}); use smaller settings, such as train.batch_size" if str(error) else None
    if not isinstance(error, OSError):
        return None
    if error.errno == errno.ENOSPC and not error.filename:
        return "cannot write the output: no space left on device"
    reason = error.strerror or str(error) or type(error).__name__
    return f"{short(str(error.filename))}: {reason}; check this path" if error.filename else reason


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
        print("bench: interrupted; the same command continues from what is on disk", file=sys.stderr)
        raise SystemExit(130) from None
