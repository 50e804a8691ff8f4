"""The lines of a text file, plain or gzip, UTF-8 or UTF-16, whatever its line ends."""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from bench.data.validation import Problems

BOM = b"\xef\xbb\xbf"
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
SURROGATE = re.compile("[\ud800-\udfff]")
GZIP = b"\x1f\x8b"
SEPARATOR = re.compile(r'"?sep=[,;\t]"?[,;]*', re.IGNORECASE)
"""The line with which spreadsheets tell each other the separator of a CSV; it is no row."""
SAVE = "save it as UTF-8 (spreadsheets: CSV UTF-8)"
OTHERS = {
    b"PK\x03\x04": "a zip archive or a spreadsheet; unpack it, or save the sheet as CSV",
    b"\xd0\xcf\x11\xe0": "a spreadsheet of an old kind; save it as CSV",
    b"BZh": "compressed by bzip2; unpack it, or use gzip",
    b"\xfd7zXZ": "compressed by xz; unpack it, or use gzip",
    b"(\xb5/\xfd": "compressed by zstd; unpack it, or use gzip",
    b"ARROW1": "an Arrow file; save it as Parquet",
    b"SQLite format 3": "a database; export its table as CSV",
}
"""How files begin that are no text and that people have, and what to do with them."""


def missing(path: Path) -> str | None:
    """Why a path that is there (at least as a name) is no file that can be read, or None."""
    try:
        if path.is_file():
            return None
        if path.is_dir():
            return "is a directory, not a file"
        if path.is_symlink() and not path.exists():
            return "is a link to a file that does not exist"
        return "is no regular file" if path.exists() else "does not exist"
    except (OSError, ValueError) as error:
        return f"cannot be looked at ({getattr(error, 'strerror', None) or error})"


def head(path: Path, size: int) -> bytes:
    """The first ``size`` bytes of a file, unpacked. Raises ``OSError``, ``EOFError`` or ``zlib.error``."""
    with _opened(path) as file:
        return file.read(size)


def kind_of(path: Path) -> str | None:
    """What a file is that is no text, and what to do with it, where its first bytes say so; else None."""
    try:
        with path.open("rb") as file:
            start = file.read(max(map(len, OTHERS)))
    except OSError:
        return None
    return next((told for sign, told in OTHERS.items() if start.startswith(sign)), None)


def contains(path: Path, byte: bytes) -> bool:
    """Whether a file that can be read has a byte anywhere."""
    try:
        with _opened(path) as file:
            return any(byte in chunk for chunk in iter(lambda: file.read(2**20), b""))
    except (OSError, EOFError, zlib.error):
        return False


def _opened(path: Path) -> BinaryIO:
    """The bytes of a file, unpacked where its first bytes are gzip's, whatever it is called."""
    with path.open("rb") as file:
        packed = file.read(len(GZIP)) == GZIP
    return cast(BinaryIO, gzip.open(path, "rb")) if packed else path.open("rb")


def raw_lines(path: Path, problems: Problems, stream: BinaryIO | None = None) -> Iterator[tuple[int, str]]:
    """``(number, text)`` of every line without its line end, blank ones too; numbers count from 1.

    A byte order mark and carriage returns at line ends are taken off and told; UTF-16 is decoded and told. Broken
    text, and a file that is damaged, unreadable, empty or no text, are errors. White space around a text is kept.
    With a ``stream`` (buffered, such as standard input) that is read, and ``path`` is only its name.
    """
    number = foreign = 0
    broken: list[tuple[int, str]] = []
    if stream is None and (reason := missing(path)):
        problems.add(path, 0, reason)
        return
    try:
        with _opened(path) if stream is None else _unpacked(stream) as file:
            for number, raw in enumerate(_split(file, path, problems), start=1):
                if number == 1 and (kind := next((told for sign, told in OTHERS.items() if raw.startswith(sign)), "")):
                    problems.add(path, 0, f"is no text file: {kind}")
                    return
                if b"\0" in raw:
                    problems.add(path, number, f"is no text file: it has NUL bytes; {SAVE}")
                    return
                if raw.endswith(b"\r"):
                    problems.tell("carriage returns at line ends")
                    raw = raw.rstrip(b"\r")
                try:
                    text = raw.decode("utf-8")
                except UnicodeDecodeError as error:
                    broken.append((number, f"byte {error.start + 1}: {error.reason}; if the file is no UTF-8, {SAVE}"))
                    continue
                if number == 1 and SEPARATOR.fullmatch(text):
                    problems.tell(f"{path.name} begins with a line for spreadsheets ({text})")
                    continue
                foreign += not raw.isascii()
                yield number, text
        if not number:
            problems.add(path, 0, "empty file")
        if len(broken) > 1 + foreign:
            what = f"{len(broken):,} lines, the first {broken[0][0]}; {SAVE}"
            problems.add(path, 0, "is not UTF-8", what)
        else:
            for line, what in broken:
                problems.lose(path, line, "broken UTF-8", what)
    except (OSError, EOFError, zlib.error, UnicodeError) as error:
        problems.add(path, number + 1, "file cannot be read further", str(error))


def _unpacked(stream: BinaryIO) -> BinaryIO:
    """A stream, unpacked where its first bytes are gzip's."""
    packed = stream.peek(len(GZIP))[: len(GZIP)] == GZIP  # type: ignore[attr-defined]
    return cast(BinaryIO, gzip.open(stream, "rb")) if packed else stream


def _split(file: BinaryIO, path: Path, problems: Problems) -> Iterator[bytes]:
    """The lines of a file as UTF-8 without their line feeds or, where it has none, without carriage returns."""
    start = file.peek(8192)[:8192]  # type: ignore[attr-defined]
    if start.startswith(UTF_16):
        problems.tell(f"{path.name} is UTF-16 and was decoded")
        text = io.TextIOWrapper(file, encoding="utf-16", newline="\n")
        yield from (line.removesuffix("\n").encode("utf-8", "surrogatepass") for line in text)
        return
    if start.startswith(BOM):
        problems.tell(f"{path.name} begins with a byte order mark")
        file.read(len(BOM))
    if b"\r" in start and b"\n" not in start:
        whole = file.read()
        end = b"\n" if b"\n" in whole else b"\r"
        problems.tell("carriage returns at line ends", whole.count(b"\r") if end == b"\r" else 0)
        yield from whole.removesuffix(end).split(end)
        return
    for raw in file:
        yield raw.removesuffix(b"\n")


def lines(path: Path, problems: Problems) -> Iterator[tuple[int, str]]:
    """``(number, text)`` of each line that is not blank; blank ones are counted."""
    for number, text in raw_lines(path, problems):
        if text and not text.isspace():
            yield number, text
        else:
            problems.tell("blank lines")


def is_text(value: object) -> bool:
    """Whether a value is a text with more than white space in it and without lone surrogates."""
    return isinstance(value, str) and not value.isspace() and value != "" and SURROGATE.search(value) is None
