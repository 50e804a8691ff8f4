"""Pairs of sentences with a score (similarity tasks) or a class (inference): sentence 1, sentence 2, score or label.

A directory has a file for each split, or a directory for each task. Columns may have names; without them the third is
the score or the label. A file alone is the test split of a task, or the train split of an inference set. From an
inference set, entailed pairs are also pairs of a query and its passage, with the premise's contradictions as negatives.

DataSource of the layouts: STS Benchmark; github.com/shawroad/CoSENT_Pytorch (Chinese tasks); SNLI and MultiNLI.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from bench.data.build import SHOWN, Builder
from bench.data.columns import LABEL, SCORE, Columns
from bench.data.dataset import DataSet, Sample, TextPairs, appended
from bench.data.fingerprint import with_fingerprint
from bench.data.formats.base import Format, Reading
from bench.data.lines import is_text
from bench.data.splits import SPLITS, Folder, stem_of
from bench.data.tables import Row, Table, read_table
from bench.data.validation import Problems

CLASSES = ("contradiction", "entailment", "neutral")
UNDECIDED = ("-", "", "-1")  # no label that annotators agree on
NUMBERS = {"0": "entailment", "1": "neutral", "2": "contradiction"}  # GLUE's, where columns are premise and hypothesis
LOOK = 50  # rows that decide what a file holds
FILES, JUDGED = ("corpus", "collection", "passages", "documents"), ("queries", "topics", "qrels")  # of retrieval

_Labelled = tuple[tuple[Path, int], str, str, float]
"""The file and line of a pair, its two texts, and its score or the place of its class."""


@dataclass(frozen=True)
class _Kind:
    """The columns of a table of labelled pairs; with ``classes`` the labels are words, else numbers."""

    left: str
    right: str
    label: str
    classes: bool


def read(path: Path, reading: Reading) -> DataSet:
    """The data set in a directory or a file. Raises :class:`DataError`."""
    problems = Problems(reading.skip_broken)
    queries: dict[str, int] = {}
    tasks: dict[str, dict[str, TextPairs]] = {}
    samples: dict[str, list[Sample]] = {}
    entailed = Builder(path.name, problems)
    found = _tasks(path, problems)
    for name, files in found.items():
        whole: dict[str, tuple[_Kind, list[_Labelled]]] = {}
        for split, file in files:
            table = _rows(file, problems)
            if table is None:
                continue
            kind, rows = table
            before, of_split = whole.setdefault(split, (kind, []))
            of_split += rows
            if before.classes != kind.classes:
                problems.add(file, 0, f"the files of {split} are of two kinds: some have scores, others classes")
            samples[file.name if len(found) == 1 else f"{name}/{file.name}"] = _samples(kind, rows)
        if "train" in whole and whole["train"][0].classes:
            _entail(entailed, whole["train"][1])
        tasks[name] = {split: _pairs(kind, rows, queries) for split, (kind, rows) in whole.items()}
    problems.raise_if_any()
    inferred = any(splits["train"].classes for splits in tasks.values() if "train" in splits)
    data = entailed.build(path) if inferred else DataSet(path.name, (), (), {}, notices=dict(problems.notices))
    return _joined(replace(data, samples=samples), queries, tasks)


def _joined(data: DataSet, queries: dict[str, int], tasks: Mapping[str, Mapping[str, TextPairs]]) -> DataSet:
    """``data`` with the tasks, whose ids count the texts of ``queries``, and those texts after its own."""
    everything, place = appended(data.queries, queries)
    moved = {name: {split: p.renumbered(place) for split, p in splits.items()} for name, splits in tasks.items()}
    return with_fingerprint(replace(data, queries=everything, tasks=moved))


def _tasks(path: Path, problems: Problems) -> dict[str, list[tuple[str, Path]]]:
    """The files of every task by its name, with the split that each is."""
    if path.is_file():
        kind = _kind(path)
        return {path.name.split(".")[0]: [("train" if kind is not None and kind.classes else "test", path)]}
    own = _splits(path, problems)
    if own:
        return {path.resolve().name: own}
    return {
        place.name: found for place in sorted(path.iterdir()) if place.is_dir() if (found := _splits(place, problems))
    }


def _splits(path: Path, problems: Problems) -> list[tuple[str, Path]]:
    """The files of a task's directory, by split; files of no split are named in ``problems``."""
    folder = Folder(path)
    found = folder.splits(problems)
    if found:
        folder.tell_unread(problems)
    return [(split, file) for split in SPLITS for file in found.get(split, [])]


def _rows(path: Path, problems: Problems) -> tuple[_Kind, list[_Labelled]] | None:
    """The columns of a file, and its rows."""
    table = read_table(path, problems)
    if table is None:
        return None
    rows = list(table.rows)
    kind = _kind_of(table, rows[:LOOK])
    if kind is None:
        problems.add(path, 0, "is no table of sentence 1, sentence 2 and a score or label", f"the file is {table}")
        return None
    used = (kind.left, kind.right, kind.label)
    unread = [name for name in table.columns if name not in used and name.strip()]
    problems.tell(f"columns not read of {path.name}: {', '.join(unread)}", len(unread))
    number = partial(_class, problems, path) if kind.classes else partial(_score, problems, path)
    found = []
    for line, row in rows:
        left, right = row.get(kind.left), row.get(kind.right)
        if not isinstance(left, str) or not isinstance(right, str) or not is_text(left) or not is_text(right):
            problems.lose(path, line, "no text in one of the two sentences")
        elif (value := number(line, row.get(kind.label))) is not None:
            found.append(((path, line), left, right, value))
    if not found:
        problems.add(path, 0, "there is no pair")
    return kind, found


def _class(problems: Problems, path: Path, line: int, value: object) -> float | None:
    word = _word(value)
    if word in CLASSES:
        return float(CLASSES.index(word))
    if word in UNDECIDED:
        problems.tell("pairs without an agreed label, left out")
    else:
        problems.lose(path, line, f"the label is none of {', '.join(CLASSES)}", repr(word[:40]))
    return None


def _word(value: object) -> str:
    """A label as a word; of a number the class that it stands for."""
    word = str(value).strip().lower().removesuffix(".0")
    return NUMBERS.get(word, word)


def _score(problems: Problems, path: Path, line: int, value: object) -> float | None:
    number = _number(value)
    if number is None:
        problems.lose(path, line, "the score is no number", repr(str(value)[:40]))
    return number


def _number(value: object) -> float | None:
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _pairs(kind: _Kind, rows: Sequence[_Labelled], queries: dict[str, int]) -> TextPairs:
    """The pairs of a split, their texts added to ``queries``."""
    left = np.array([queries.setdefault(text, len(queries)) for _, text, _, _ in rows])
    right = np.array([queries.setdefault(text, len(queries)) for _, _, text, _ in rows])
    label = np.array([label for *_, label in rows], dtype=np.float32)
    return TextPairs(left, right, label, CLASSES if kind.classes else ())


def _samples(kind: _Kind, rows: Sequence[_Labelled]) -> list[Sample]:
    """The first rows of a file, by role."""
    return [
        (
            ("sentence1", left),
            ("sentence2", right),
            ("class", CLASSES[int(label)]) if kind.classes else ("score", f"{label:g}"),
        )
        for _, left, right, label in rows[:SHOWN]
    ]


def _entail(builder: Builder, rows: Sequence[_Labelled]) -> None:
    """Entailed pairs as training pairs, and contradictions as negatives of premises that entail something."""
    named = {name: float(place) for place, name in enumerate(CLASSES)}
    for text in dict.fromkeys(right for _, _, right, label in rows if label != named["neutral"]):
        builder.corpus(text)
    for at, left, right, label in rows:
        if label == named["entailment"]:
            builder.pair("train", left, right, at)
    for at, left, right, label in rows:
        if label == named["contradiction"]:
            builder.negative("train", left, right, at)


def _kind(path: Path) -> _Kind | None:
    """The columns of labelled pairs in a file, None where it has none."""
    if stem_of(path.name) is None or not path.is_file():
        return None
    table = read_table(path, Problems(), most=LOOK)
    return None if table is None else _kind_of(table, list(islice(table.rows, LOOK)))


def _kind_of(table: Table, rows: Sequence[tuple[int, Row]]) -> _Kind | None:
    """The columns of labelled pairs; a third column without a name must hold scores or classes in every row.

    A table with negatives has none: it is of retrieval.
    """
    if table.named:
        columns = Columns.of(table.columns, {}, True)
        label = next((name for name in table.columns if name.strip().lower() in (*SCORE, *LABEL)), None)
        if isinstance(columns, str) or columns.negative or label is None:
            return None
        left, right = columns.query, columns.positive[0]
    elif len(table.columns) == 3:
        left, right, label = table.columns
    else:
        return None
    values = [row.get(label) for _, row in rows]
    words = [str(value).strip().lower() for value in values]
    inferred = table.named and {"premise", "hypothesis"} <= {name.strip().lower() for name in table.columns}
    if words and set(map(_word, values) if inferred else words) <= {*CLASSES, *UNDECIDED}:
        return _Kind(left, right, label, True)
    scored = bool(values) and all(_number(value) is not None for value in values)
    plain = table.named and label.strip().lower() not in SCORE and set(words) <= {"0", "1"}
    return _Kind(left, right, label, False) if scored and not plain else None


def _files(place: Path) -> list[Path]:
    """The first file of every split of a task, or of the first task in a directory of tasks; or the file itself."""
    if place.is_file():
        return [place]
    for folder in (place, *(entry for entry in sorted(place.iterdir()) if entry.is_dir())):
        found = Folder(folder)
        if found.has(FILES) or any(entry.name.lower().startswith(JUDGED) for entry in found.entries):
            return []
        if splits := found.splits(Problems()):
            return [files[0] for files in splits.values()]
    return []


def fits(place: Path, reading: Reading) -> bool:
    """Whether a directory or a file holds labelled pairs: every split of the first task decides.

    It does not beside files of retrieval, or where the user says which columns are the query and the passage.
    """
    files = [] if reading.columns else _files(place)
    return bool(files) and all(_kind(file) is not None for file in files)


FORMAT = Format(
    "pairs with scores or classes",
    "train, dev or test with sentence 1, sentence 2 and a score or a class; or a directory of such tasks",
    fits,
    read,
)
