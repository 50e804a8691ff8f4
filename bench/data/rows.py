"""Rows of training data: what one line of a table says of a query, checked."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from bench.data.columns import PASSAGE, Columns, column, is_name, proposed
from bench.data.delimited import NUMBER
from bench.data.lines import is_text
from bench.data.lookalikes import CODE
from bench.data.tables import Row, Table
from bench.data.validation import Problems

RELEVANT = {"1", "true", "yes", "positive", "entailment"}
NOT_RELEVANT = {"0", "false", "no", "negative", "contradiction"}
NEITHER = {"neutral", "-"}
LOOKED_AT = 20  # rows that show which columns hold texts
HELD_OUT = 20  # one query in so many goes to a split that is missing ...
MOST_HELD_OUT = 1000  # ... but no more than these

Scored = tuple[str, float | None]


class Entry(NamedTuple):
    """One checked row: its file and line, its query, its texts with a teacher's score or None, and its group if any."""

    at: tuple[Path, int]
    query: str
    positives: Sequence[Scored]
    negatives: Sequence[Scored] = ()
    group: str | None = None


def entries(
    table: Table, chosen: Mapping[str, Sequence[str]], problems: Problems, lenient: bool = False
) -> list[Entry]:
    """The rows of a table of training data that hold what they must; the others go to ``problems``.

    ``chosen`` are the columns that the user named by role. A cell holds a text, a list of texts, or passages as objects
    with ``title`` and ``text``; a list may have a teacher's scores in a column ``NAME_scores``, in all rows or in none.
    With a label, only rows of label 1 are pairs; the passages of label 0 are negatives. With ``lenient`` (dev and test)
    a chosen negative or label need not be there.
    """
    if not table.columns:
        return []
    path = table.path
    columns = Columns.of(table.columns, chosen, table.named, lenient)
    if isinstance(columns, str):
        fit = _what_would_fit(table.columns, [row for _, row in islice(table.rows, LOOKED_AT)])
        problems.add(path, int(table.separated), columns, f"the file is {table}; {fit}")
        return []
    if not _first_line(table, "query" in chosen, problems):
        return []
    wanted = chosen.get("group", (None,))[0]
    group = None if wanted is None else column(wanted, table.columns)
    if wanted is not None and group is None and not lenient:
        problems.add(path, int(table.separated), f"there is no column {wanted!r}, which data.columns names")
        return []
    unread = [name for name in columns.unread if name != group]
    problems.tell(f"columns not read of {path.name}: {', '.join(unread)}", len(unread))
    found = list(table.rows)
    relevance = _relevance(table, columns, found, problems)
    scored: dict[str, bool] = {}
    read = []
    for (line, row), relevant in zip(found, relevance, strict=False):
        if relevant is not None and (entry := _entry((path, line), row, columns, table.named, scored, problems)):
            if not relevant:
                entry = entry._replace(positives=(), negatives=[*entry.positives, *entry.negatives])
            if group is None:
                read.append(entry)
            elif _is_empty(row.get(group)):
                problems.lose(path, line, f"the group in the column {group!r} is empty")
            else:
                read.append(entry._replace(group=str(row[group]).strip()))
    return read


def _first_line(table: Table, chosen: bool, problems: Problems) -> bool:
    """Tell what the first line was taken for; whether that is certain enough to read the table."""
    name = table.path.name
    if table.named and table.separated:
        problems.tell(f"{name} has a header: {', '.join(filter(str.strip, table.columns))}")
    if not table.doubtful or chosen:
        return True
    what = f"the first line of {name} may be a header with names that are not known"
    if "TAB" in table.kind:  # in which a header is rare
        problems.tell(f"{what}, and was read as a pair")
        return True
    pair = "if it is a pair, \"data.columns='query:1,positive:2'\""
    below = [dict(zip(table.doubtful, row.values(), strict=True)) for _, row in islice(table.rows, 1, LOOKED_AT)]
    unknown = ", ".join(name for name in table.doubtful if not is_name(name))
    problems.add(table.path, 1, what, f"{unknown}; {_what_would_fit(table.doubtful, below)}; {pair}")
    return False


def _what_would_fit(columns: Sequence[str], rows: Sequence[Row]) -> str:
    """What to do about a table in which the query or the positive passage has no known name."""
    texts = [name for name in columns if any(_may_be_text(row.get(name)) for row in rows)]
    fit = proposed(texts) or proposed(columns)
    if fit is None:
        return "write query TAB passage on every line, or a table with the columns query and positive"
    return f"name the columns, such as \"data.columns='{fit}'\""


def _may_be_text(cell: object) -> bool:
    """Whether a cell is neither empty nor a number nor an id."""
    if isinstance(cell, str):
        return not NUMBER.fullmatch(cell) and not CODE.fullmatch(cell)
    return isinstance(cell, list | Mapping) and bool(cell)


def _relevance(
    table: Table, columns: Columns, found: Sequence[tuple[int, Row]], problems: Problems
) -> list[bool | None]:
    """For each row whether its label says relevant, None where it is left out. Empty if labels do not say it."""
    if columns.label is None:
        return [True] * len(found)
    labels = [_label(row.get(columns.label)) for _, row in found]
    if set(labels) - RELEVANT - NOT_RELEVANT - NEITHER - {""}:
        values = sorted(set(labels))
        shown = ", ".join(values[:5]) + (f" and {len(values) - 5:,} more" if len(values) > 5 else "")
        problems.add(
            table.path,
            0,
            f"the values of the column {columns.label!r} do not say whether a pair is relevant",
            f"{shown}; labels are 1 and 0, or entailment, neutral and contradiction. Keep the rows that are pairs and "
            "leave the column out, or put 1 and 0 in it; data.columns that names query and positive without a label "
            "takes every row for a pair",
        )
        return []
    for (line, _), label in zip(found, labels, strict=True):
        if not label:
            problems.lose(table.path, line, f"the label in the column {columns.label!r} is empty")
    problems.tell("rows labelled neutral, left out", sum(label in NEITHER for label in labels))
    if labels and not RELEVANT.intersection(labels):
        problems.add(table.path, 0, f"no row has a label of 1 in the column {columns.label!r}")
    return [None if label in NEITHER or not label else label in RELEVANT for label in labels]


def _label(value: object) -> str:
    """A label as text: 1.0 and True are "1" and "true"."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = "" if _is_empty(value) else str(value).strip().lower()
    return text.removesuffix(".0")


def _entry(
    at: tuple[Path, int], row: Row, columns: Columns, named: bool, scored: dict[str, bool], problems: Problems
) -> Entry | None:
    """A row, or None where it cannot be used."""
    path, line = at
    wrong = None if is_text(row.get(columns.query)) else _no_text(columns.query, row, named)
    texts: dict[str, list[Scored]] = {"positive": [], "negative": []}
    for role, names in (("positive", columns.positive), ("negative", columns.negative)):
        for name in names:
            cells = _cells(row.get(name))
            scores = row.get(f"{name}_scores")
            wrong = wrong or _wrong(name, cells, scores, row, named)
            if not wrong and cells and scored.setdefault(name, scores is not None) != (scores is not None):
                wrong = f"'{name}_scores' on some lines only"
            if not wrong:
                pairs = zip(cells, scores or [None] * len(cells), strict=True)
                kept = [(text, score) for text, score in pairs if text is not None]
                problems.tell(f"empty {role}s left out", (len(cells) - len(kept)) if kept or role != "positive" else 0)
                texts[role] += kept
    if not wrong and not texts["positive"]:
        wrong = _no_text(columns.positive[0], row, named)
    if wrong:
        problems.lose(path, line, wrong)
        return None
    return Entry(at, row[columns.query], texts["positive"], texts["negative"])


def _no_text(name: str, row: Row, named: bool) -> str:
    """What is wrong with a cell that has to be a text."""
    value = row.get(name)
    if not named:
        return "empty field"
    kind = "" if isinstance(value, str) or _is_empty(value) else f", but {type(value).__name__}"
    return f"no text in the column {name!r}{kind}"


def _cells(value: object) -> list[Any]:
    """The texts of a cell: None for empty ones, and values of other types as they are."""
    values = value if isinstance(value, list) else [] if _is_empty(value) else [value]
    return [None if _is_empty(cell) else passage(cell) if isinstance(cell, Mapping) else cell for cell in values]


def passage(value: Mapping[str, Any]) -> object:
    """The text of a passage that is an object: its title and its text, joined by a space."""
    name = column_of(tuple(value), PASSAGE)
    parts = [value.get(key) for key in ("title", name) if key is not None]
    if not all(isinstance(part, str) or _is_empty(part) for part in parts):
        return parts
    return " ".join(part for part in parts if isinstance(part, str)).strip() or None


def column_of(names: Sequence[str], known: Sequence[str]) -> str | None:
    """The first of the ``known`` names that a table has."""
    return next((name for wanted in known if (name := column(wanted, names)) is not None), None)


def _is_empty(value: object) -> bool:
    """Whether a cell is empty: a text of white space, None, NaN, a list of nothing."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or value == [] or (isinstance(value, float) and math.isnan(value))


def _wrong(name: str, cells: Sequence[object], scores: object, row: Row, named: bool) -> str | None:
    """What is wrong with the texts of a column and their scores."""
    if not all(cell is None or is_text(cell) for cell in cells):
        return f"{name!r} is no list of texts" if isinstance(row.get(name), list) else _no_text(name, row, named)
    if scores is None:
        return None
    if not isinstance(scores, list) or not all(map(_is_number, scores)):
        return f"'{name}_scores' is no list of numbers"
    return None if len(scores) == len(cells) else f"'{name}_scores' and {name!r} differ in length"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def texts(table: Table, chosen: Sequence[str], problems: Problems) -> Iterator[str]:
    """The texts of a list of texts: the column that the user chose, a known one, or the only one."""
    named = column_of(table.columns, chosen or PASSAGE)
    name = named or (table.columns[0] if len(table.columns) == 1 else None)
    if name is None:
        if table.columns:
            number = f"{len(table.columns)} columns, of which none is known as the text"
            fit = f"Choose one, such as data.columns=passage:{table.columns[-1]}"
            problems.add(table.path, 0, number, f"the file is {table}. {fit}")
        return
    _first_line(table, True, problems)
    rest = [other for other in table.columns if other != name]
    problems.tell(f"columns not read of {table.path.name}: {', '.join(rest)}", len(rest))
    for line, row in table.rows:
        value = row.get(name)
        if isinstance(value, str) and is_text(value):
            yield value
        elif _is_empty(value):
            problems.tell("empty passages left out")
        else:
            problems.add(table.path, line, _no_text(name, row, table.named))


def hold_out(splits: Mapping[str, list[Entry]]) -> dict[str, list[Entry]]:
    """The splits, with dev and test taken from the queries of train where they are missing.

    A hash of the query decides, so that the order of rows does not. A train split of fewer than 20 queries is left
    whole.
    """
    splits = dict(splits)
    train = splits.get("train", [])
    queries = sorted({row.query for row in train if row.positives}, key=lambda q: hashlib.sha256(q.encode()).digest())
    size = min(len(queries) // HELD_OUT, MOST_HELD_OUT)
    missing = [name for name in ("dev", "test") if name not in splits] if size else []
    for i, name in enumerate(missing):
        taken = set(queries[i * size : (i + 1) * size])
        splits[name] = [row for row in train if row.query in taken]
    gone = set(queries[: len(missing) * size])
    if "train" in splits:
        splits["train"] = [row for row in train if row.query not in gone]
    return splits
