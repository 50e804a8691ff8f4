"""The files of a source and their lines, read strictly: plain or ``.gz``, UTF-8, one record a line."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.data.validation import Problems
from bench.errors import UserError

BOM = b"\xef\xbb\xbf"


def find(folder: Path, stems: Sequence[str], suffixes: Sequence[str]) -> Path | None:
    """The one file of ``folder`` called ``STEM + SUFFIX``, or that with ``.gz``; None when there is none.

    Raises :class:`UserError` when there are several, since it is unclear which is meant.
    """
    names = [stem + suffix + zipped for stem in stems for suffix in suffixes for zipped in ("", ".gz")]
    there = [folder / name for name in names if (folder / name).is_file()]
    if len(there) > 1:
        raise UserError(f"{folder}: {' and '.join(p.name for p in there)} both exist; keep one of them")
    return there[0] if there else None


def lines(path: Path, problems: Problems) -> Iterator[tuple[int, str]]:
    """``(number, text)`` of each line that can be used, without its line end; numbers count from 1.

    Blank lines, broken UTF-8, a byte order mark, carriage returns (Windows line ends) and a file that is
    damaged, unreadable or empty go to ``problems``. White space around a text is kept as part of it.
    """
    number = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                if number == 1 and raw.startswith(BOM):
                    problems.add(path, 1, "byte order mark at the start (save as UTF-8 without BOM)")
                    raw = raw.removeprefix(BOM)
                raw = raw.removesuffix(b"\n")
                if raw.endswith(b"\r"):
                    problems.add(path, number, "carriage return at the line end (save with Unix line ends)")
                    raw = raw.rstrip(b"\r")
                try:
                    text = raw.decode("utf-8")
                except UnicodeDecodeError as error:
                    problems.add(path, number, "broken UTF-8", f"byte {error.start + 1}: {error.reason}")
                    continue
                if not text or text.isspace():
                    problems.add(path, number, "blank line")
                    continue
                yield number, text
        if not number:
            problems.add(path, 0, "empty file")
    except (OSError, EOFError, zlib.error) as error:
        problems.add(path, number + 1, "file cannot be read further", str(error))


def records(path: Path, fields: int, problems: Problems, optional: int = 0) -> Iterator[tuple[int, list[str]]]:
    """``(line, fields)`` of each line that has exactly ``fields`` TAB-separated, non-empty fields.

    Up to ``optional`` more are allowed if the first line has them; then every line must have them. There is no
    quoting and no header. Other lines go to ``problems``.
    """
    for number, text in lines(path, problems):
        values = text.split("\t")
        if optional and fields <= len(values) <= fields + optional:
            fields = len(values)
        optional = 0
        if len(values) != fields:
            problems.add(path, number, "wrong number of fields", f"{len(values)} instead of {fields}")
        elif any(not value.strip() for value in values):
            problems.add(path, number, "empty field")
        else:
            yield number, values


def objects(path: Path, problems: Problems) -> Iterator[tuple[int, dict[str, Any]]]:
    """``(line, object)`` of each line of a JSON Lines file that holds a JSON object."""
    for number, text in lines(path, problems):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            problems.add(path, number, "not JSON", str(error))
            continue
        if isinstance(value, dict):
            yield number, value
        else:
            problems.add(path, number, "not a JSON object", type(value).__name__)


def is_text(value: object) -> bool:
    """Whether a JSON value is a text with more than white space in it and without lone surrogates."""
    if not isinstance(value, str) or not value.strip():
        return False
    return value.isascii() or not any("\ud800" <= c <= "\udfff" for c in value)
