"""Texts from a file or from standard input, a line each."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from bench.errors import UserError

STDIN = Path("-")


def read_lines(path: Path, what: str) -> list[str]:
    """The lines of a UTF-8 file, of standard input for ``-``. ``what`` is the option that named it, for messages.

    Order and repetitions stay. Raises :class:`UserError` for a file that cannot be read, without a line, or with an
    empty one, which is named.
    """
    where = "standard input" if path == STDIN else f"{what} {path}"
    try:
        content = sys.stdin.buffer.read() if path == STDIN else path.read_bytes()
        lines = content.decode("utf-8-sig").replace("\r\n", "\n").removesuffix("\n").split("\n")
    except OSError as error:
        raise UserError(f"{where}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: not UTF-8 (byte {error.start + 1}); save it as UTF-8") from error
    if lines == [""]:
        raise UserError(f"{where}: there is no text in it")
    refuse_empty(lines, where)
    return lines


def read_pairs(path: Path, what: str) -> tuple[list[str], list[str]]:
    """The two texts of each line, separated by TAB; further columns have no use. Raises :class:`UserError`."""
    rows = [line.split("\t") for line in read_lines(path, what)]
    for number, row in enumerate(rows, start=1):
        if len(row) < 2 or not (row[0].strip() and row[1].strip()):
            raise UserError(f"{what} {path}: line {number} is no pair of two texts with a TAB between them")
    return [row[0] for row in rows], [row[1] for row in rows]


def refuse_empty(texts: Sequence[str], where: str) -> None:
    """Raise :class:`UserError` with the line of the first empty text."""
    empty = [number for number, text in enumerate(texts, start=1) if not text.strip()]
    if empty:
        more = f" (and {len(empty) - 1:,} more)" if len(empty) > 1 else ""
        raise UserError(f"{where}: line {empty[0]} is empty{more}")
