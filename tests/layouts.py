"""Layouts that people have, made up: files of a data set in a directory, and how a data set that was read is told."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from bench.data import DataConfig, DataError, DataSet, load

QUERIES = [f"what does the keeper of house {number} do at night" for number in range(40)]
PASSAGES = [f"The keeper of house {number}, as the town knows; counts the lamps until morning." for number in range(40)]
WRONG = [f"A river of no name passes under bridge {number} and asks nothing of anybody." for number in range(40)]


def write(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    """A directory with files by their names, text as UTF-8."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def tsv(*columns: Iterable[object]) -> str:
    """Lines of TAB-separated values."""
    return "".join("\t".join(map(str, row)) + "\n" for row in zip(*columns, strict=True))


def jsonl(rows: Iterable[object]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def csv(separator: str = ",", quoting: int = 0, header: bool = True, **columns: Any) -> str:
    """What pandas writes."""
    frame = pd.DataFrame(columns)
    return str(frame.to_csv(sep=separator, quoting=quoting, header=header, index=False, lineterminator="\n"))  # type: ignore[call-overload]


def read(place: Path | str, **settings: Any) -> DataSet:
    return load(DataConfig(str(place), **settings))


def problems_of(place: Path, **settings: Any) -> list[tuple[str, int, str]]:
    """(file name, line, kind) of every problem, in order."""
    try:
        read(place, **settings)
    except DataError as error:
        return [(problem.path.name, problem.line, problem.kind) for problem in error.problems]
    return []


def named(data: DataSet, split: str, which: str = "relevant") -> list[tuple[str, list[str]]]:
    """Each query of a split with its positives, or its ``negatives``, as texts."""
    part = data.splits[split]
    relation = getattr(part, which)
    if relation is None:
        return []
    return [(data.queries[q], [data.passages[p] for p in relation[row]]) for row, q in enumerate(part.queries)]


def told(data: DataSet, words: str) -> int:
    """How many things the notices with these words count; 0 where there are none."""
    return sum(number for what, number in data.notices.items() if words in what)
