"""Text files of rows with a separator: which one, whether cells are quoted, and whether the first line is a header."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from bench.data.columns import column, is_name, looks_like_name
from bench.data.lines import contains, lines, raw_lines
from bench.data.validation import Problems

NAMES = {"\t": "TAB", ",": "comma", ";": "semicolon"}
LOOKED_AT = 200  # lines from which the separator is told
LONGEST = 1000  # lines of one quoted cell
NUMBER = re.compile(r"\s*[-+]?[\d.,]*\s*")

csv.field_size_limit(2**31 - 1)


@dataclass(frozen=True)
class Dialect:
    """How a file separates its cells. ``bare`` cells begin and end with a quotation mark of their own."""

    separator: str
    quoted: bool
    bare: int = 0


def dialect_of(path: Path, one_column: bool) -> Dialect:
    """The separator of a file and whether its cells are quoted as csv writers do it.

    As many TABs in every line go before commas and semicolons; these must give all lines equally many cells, or a line
    of names. In a file of ``one_column`` (a corpus) they separate only below a line of names, since texts have commas.
    Without any the separator is TAB. Cells between TABs are quoted if they are so in every line of the file.
    """
    start = [text for _, text in islice(lines(path, Problems()), LOOKED_AT)]
    if not start:
        return Dialect("\t", False)
    tabs = {text.count("\t") for text in start}
    if "\t" not in start[0] or len(tabs) > 1:
        for separator in (",", ";"):
            if _separates(start, separator, one_column):
                return Dialect(separator, True)
    return _quoting(path) if contains(path, b'"') else Dialect("\t", False)


def _separates(start: Sequence[str], separator: str, one_column: bool) -> bool:
    try:
        rows = list(csv.reader((text + "\n" for text in start), delimiter=separator))
    except csv.Error:
        return False
    if len(rows[0]) < 2:
        return False
    if all(map(looks_like_name, rows[0])) and any(map(is_name, rows[0])):
        return True
    whole = rows[:-1] if len(start) == LOOKED_AT else rows  # the last one may be cut within a cell
    return not one_column and {len(row) for row in whole} == {len(rows[0])}


def _quoting(path: Path) -> Dialect:
    """Whether the cells of a TAB-separated file are quoted: the marks of every line are those that a csv writer sets.

    It quotes every text, or those that need it; some programs take a comma for a need.
    """
    cell = r'(?:"[^"]*(?:""[^"]*)*"|[^"\t]*)'
    record = re.compile(rf"{cell}(?:\t{cell})*")
    found: Counter[str] = Counter()
    waiting: list[str] = []
    for _, text in raw_lines(path, Problems()):
        if '"' not in text and not waiting:
            found[_marks(text)] += 1
            continue
        waiting.append(text)
        whole = "\n".join(waiting) if len(waiting) > 1 else text
        if whole.count('"') % 2:  # a cell that goes on
            if len(waiting) > LONGEST:
                return Dialect("\t", False)
            continue
        if record.fullmatch(whole) is None:
            return Dialect("\t", False)
        found.update(map(_marks, re.findall(rf"(?:^|\t)({cell})", whole)))
        waiting.clear()
    quoted = found["needed"] + found["comma"] + found["needless"]
    if waiting or not quoted:
        return Dialect("\t", False)
    every = not found["plain"] and not found["plain comma"]
    needed = not found["needless"] and not (found["comma"] and found["plain comma"])
    return Dialect("\t", True) if every or needed else Dialect("\t", False, bare=quoted)


def _marks(cell: str) -> str:
    """Why a cell of a consistent record has quotation marks; or what it, or a line, is without them."""
    comma = "," in cell or ";" in cell
    if not cell.startswith('"'):
        return "number" if NUMBER.fullmatch(cell) else "plain comma" if comma else "plain"
    return "needed" if re.search(r'["\t\n\r]', cell[1:-1]) else "comma" if comma else "needless"


Rows = Iterator[tuple[int, list[str]]]


def rows(path: Path, dialect: Dialect, problems: Problems) -> Rows:
    """``(line, cells)`` of each line that is not blank; of a cell over several lines the first counts."""
    if not dialect.quoted:
        yield from ((number, text.split(dialect.separator)) for number, text in lines(path, problems))
        return
    place = start = 0

    def read() -> Iterator[str]:
        nonlocal place, start
        for place, text in raw_lines(path, problems):
            start = start or place
            yield text + "\n"

    reader = csv.reader(read(), delimiter=dialect.separator, strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield start, cells
            else:
                problems.tell("blank lines")
            start = 0
    except csv.Error as error:
        problems.add(path, start or place, "quotation marks do not close, so the rest cannot be read", str(error))


@dataclass(frozen=True)
class Delimited:
    """The rows of a file below its header, if it has one; ``width`` is the number of cells of the first line.

    ``doubtful`` is the first line where it looks like a header of names that nobody knows; it is among the rows.
    """

    header: list[str] | None
    rows: Rows
    width: int
    doubtful: Sequence[str] = ()


def with_header(found: Rows, wanted: Sequence[str], is_header: Callable[[Sequence[str]], bool]) -> Delimited:
    """Take a header off the rows: a first line that ``is_header``, or that has a column that is ``wanted``."""
    start = list(islice(found, LOOKED_AT // 4))
    if not start:
        return Delimited(None, iter(()), 0)
    first = [cell.strip() for cell in start[0][1]]
    if is_header(first) or any(column(name, first) is not None for name in wanted if not name.isdecimal()):
        return Delimited(first, chain(start[1:], found), len(first))
    doubtful = first if _stands_out(first, [cells for _, cells in start[1:]]) else ()
    return Delimited(None, chain(start, found), len(first), doubtful)


def _stands_out(first: Sequence[str], others: Sequence[Sequence[str]]) -> bool:
    """Whether a first line of plain, short cells has a known name, or texts of several times its length below it."""
    if len(first) < 2 or not all(cell and looks_like_name(cell) for cell in first):
        return False
    if any(map(is_name, first)):
        return True
    if len(others) < 3:
        return False
    same = [cells for cells in others if len(cells) == len(first)]
    lengths = [sum(len(cells[i]) for cells in same) / len(same) for i in range(len(first))] if same else []
    texts = [(len(cell), mean) for cell, mean in zip(first, lengths, strict=False) if mean >= 20]
    return len(texts) > 1 and all(short * 3 < mean for short, mean in texts)
