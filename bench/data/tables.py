"""Tables: the rows of any file that has them, with the names of their columns. Each kind of file is read here."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from bench.data.columns import PASSAGE, is_name, looks_like_name
from bench.data.delimited import NAMES, Rows, dialect_of, rows, with_header
from bench.data.lines import head, lines, missing
from bench.data.validation import Problems

PARQUET = b"PAR1"
JSON = (".json", ".jsonl", ".ndjson")
WRAPPERS = {"data", "rows", "examples", "items"}
"""Keys under which an object holds all rows of a file."""

Row = Mapping[str, Any]
Records = Iterator[tuple[int, Row]]


@dataclass(frozen=True)
class Table:
    """The rows of a file as (line or number of the row, values by column), to be read once.

    ``kind`` says what the file is, for messages. Without names (``named`` is False) the columns are "1", "2", ...
    ``doubtful`` is the first row where it looks like names that nobody knows; it is among the rows.
    """

    path: Path
    kind: str
    columns: tuple[str, ...]
    named: bool
    rows: Records
    doubtful: Sequence[str] = ()

    @property
    def separated(self) -> bool:
        """Whether it is text with separators, in which a line of names is not told from others by its form."""
        return "separated" in self.kind

    def __str__(self) -> str:
        """What the file is, with its columns."""
        names = self.columns if self.named else self.doubtful
        return f"{self.kind}: {', '.join(names[:12])}" if names else self.kind


def read_table(
    path: Path, problems: Problems, wanted: Sequence[str] = (), one_column: bool = False, most: int | None = None
) -> Table | None:
    """The table in a file; None, with an error in ``problems``, when there is none.

    The name says whether a file is JSON or other text, and the content all else. ``wanted`` are columns that the user
    named; ``one_column`` says that the file is a list of texts. With ``most`` no more rows than that need be read.
    """
    if reason := missing(path):
        problems.add(path, 0, reason)
        return None
    try:
        start = head(path, len(PARQUET))
    except (OSError, EOFError, zlib.error) as error:
        problems.add(path, 0, "file cannot be read", getattr(error, "strerror", None) or str(error))
        return None
    if start == PARQUET or path.suffix.lower() == ".parquet":
        return _parquet(path, problems, most)
    if path.name.lower().removesuffix(".gz").endswith(JSON):
        return _json(path, problems, most)
    return _delimited(path, problems, wanted, one_column)


def _delimited(path: Path, problems: Problems, wanted: Sequence[str], one_column: bool) -> Table:
    dialect = dialect_of(path, one_column)
    problems.tell("cells in quotation marks, which were kept", dialect.bare)
    if dialect.quoted and dialect.separator == "\t":
        problems.tell(f"{path.name} has quotation marks as csv writers set them, which are no part of the texts")

    def is_header(cells: Sequence[str]) -> bool:
        if len(cells) == 1:
            return one_column and cells[0].lower() in PASSAGE
        known = sum(map(is_name, cells))
        return known == len(cells) or (known > 1 and all(map(looks_like_name, cells)))

    found = with_header(rows(path, dialect, problems), wanted, is_header)
    kind = f"{NAMES[dialect.separator]}-separated"
    if found.width == 1 and not one_column:
        kind = "text, separated by no TAB, comma or semicolon,"
    if found.header is None:
        names = tuple(map(str, range(1, found.width + 1)))
        records = _records(path, names, found.rows, problems)
        return Table(path, f"{kind} without a header", names, False, records, found.doubtful)
    names = tuple(_unlike(name, i) if name in found.header[:i] else name for i, name in enumerate(found.header))
    return Table(path, f"{kind} with a header", names, True, _records(path, names, found.rows, problems))


def _unlike(name: str, before: int) -> str:
    """A repeated name with its place; one without letters stays so, as of columns that spreadsheets leave behind."""
    return f"{name} {before + 1}" if name.strip() else " " * before


def _records(path: Path, names: Sequence[str], found: Rows, problems: Problems) -> Records:
    """Rows with as many cells as there are names; others are told."""
    for line, cells in found:
        if len(cells) == len(names):
            yield line, dict(zip(names, cells, strict=True))
        else:
            problems.lose(path, line, "wrong number of fields", f"{len(cells)} instead of {len(names)}")


def _parquet(path: Path, problems: Problems, most: int | None) -> Table | None:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
        values = (row for batch in file.iter_batches(most or 2**16) for row in batch.to_pylist())
        records = [(number, row) for number, row in enumerate(islice(values, most), start=1)]
    except (pa.ArrowException, OSError) as error:
        problems.add(path, 0, "no readable Parquet file", str(error).splitlines()[0])
        return None
    return Table(path, "Parquet", tuple(file.schema_arrow.names), True, iter(records))


def _json(path: Path, problems: Problems, most: int | None) -> Table | None:
    """JSON Lines of objects or of lists of texts; an array; objects over several lines; an object of columns."""
    texts = list(islice(lines(path, problems), most))
    if not texts:
        return None
    start = texts[0][1].lstrip()
    if start[0] not in "[{":
        problems.add(path, texts[0][0], "is no JSON, though its name says so", f"it begins with {start[:20]!r}")
        return None
    by_line = [_parsed(text) for _, text in texts[:3]]
    if any(isinstance(value, dict) for value in by_line) if start[0] == "{" else _is_list_of_texts(by_line[0]):
        kind, values = "JSON Lines", list(_by_line(path, texts, problems))
    else:
        kind, values = "JSON", list(enumerate(_whole(path, texts, problems), start=1))
    if len(values) == 1 and isinstance(values[0][1], dict):
        kind, values = _unfolded(kind, values)
    records: list[tuple[int, Row]] = []
    for line, value in values:
        if isinstance(value, dict):
            records.append((line, value))
        elif _is_list_of_texts(value):
            records.append((line, {str(i): cell for i, cell in enumerate(value, start=1)}))
        else:
            problems.lose(path, line, "not a JSON object", type(value).__name__)
    columns = tuple(dict.fromkeys(key for _, row in records for key in row))
    named = not values or isinstance(values[0][1], dict)
    return Table(path, kind, columns, named, iter(records))


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _is_list_of_texts(value: object) -> bool:
    return isinstance(value, list) and len(value) > 1 and all(isinstance(cell, str) for cell in value)


def _by_line(path: Path, texts: Sequence[tuple[int, str]], problems: Problems) -> Iterator[tuple[int, Any]]:
    for number, text in texts:
        try:
            yield number, json.loads(text)
        except (ValueError, RecursionError) as error:
            problems.lose(path, number, "not JSON", str(error))


def _whole(path: Path, texts: Sequence[tuple[int, str]], problems: Problems) -> Iterator[Any]:
    """The values of a text that are not one a line: the elements of arrays, and other values as they are."""
    text, place, decoder = "\n".join(text for _, text in texts), 0, json.JSONDecoder()
    while place < len(text):
        if text[place] in " \t\n,":
            place += 1
            continue
        try:
            value, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError) as error:
            line = texts[text.count("\n", 0, getattr(error, "pos", place))][0]
            problems.add(path, line, "not JSON", getattr(error, "msg", None) or "nested too deeply")
            return
        yield from value if isinstance(value, list) else [value]


def _unfolded(kind: str, values: Sequence[tuple[int, Any]]) -> tuple[str, list[tuple[int, Any]]]:
    """The rows of a single object that holds lists of cells by column, or one list of rows; or the object itself."""
    (_, value), *_ = values
    lists = [cells for cells in value.values() if isinstance(cells, list)]
    sizes = {len(cells) for cells in lists}
    if len(lists) > 1 and len(lists) == len(value) and len(sizes) == 1:
        rows = [dict(zip(value, cells, strict=True)) for cells in zip(*lists, strict=True)]
        return f"{kind} of columns", list(enumerate(rows, start=1))
    for key in WRAPPERS & value.keys():
        if isinstance(value[key], list):
            return kind, list(enumerate(value[key], start=1))
    return kind, list(values)
