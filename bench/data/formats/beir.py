"""The BEIR layout: ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/{train,dev,test}.tsv``.

DataSource: Thakur et al., "BEIR: A Heterogeneous Benchmark for Zero-shot Evaluation of Information Retrieval
Models", 2021, and the wiki of github.com/beir-cellar/beir.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from bench.data.build import SPLITS, Builder
from bench.data.dataset import DataSet
from bench.data.formats.base import Format, has_any
from bench.data.lines import find, is_text, objects, records
from bench.data.validation import Problems

HEADER = ["query-id", "corpus-id", "score"]


def read(path: Path) -> DataSet:
    """The data set in the directory ``path``: a passage is title and text joined, a relevance has its grade.

    Lines of qrels with a score of 0 or less are not relevant and skipped; queries without a relevant passage
    are left out. Entries with equal texts are one passage, which keeps the highest grade.
    Raises :class:`DataError`.
    """
    problems = Problems()
    builder = Builder(path.name, problems)
    passages = _texts(path, "corpus", ("title", "text"), problems)
    queries = _texts(path, "queries", ("text",), problems)
    for text in passages.values():
        builder.corpus(text)
    for split in SPLITS:
        file = find(path / "qrels", [split], [".tsv"])
        if file is None:
            continue
        for line, query, passage, grade in _qrels(file, problems):
            if query not in queries:
                problems.add(file, line, "query id that queries.jsonl does not have", query)
            elif passage not in passages:
                problems.add(file, line, "corpus id that corpus.jsonl does not have", passage)
            elif grade > 0:
                at = (file, line)
                builder.pair(split, queries[query], passages[passage], at, grade=grade, repeatable=True)
    return builder.build(path)


def _texts(folder: Path, stem: str, keys: Sequence[str], problems: Problems) -> dict[str, str]:
    """``_id`` → the values of those ``keys`` that exist, joined by a space. The last key is required."""
    path = find(folder, [stem], [".jsonl"])
    if path is None:
        problems.add(folder / f"{stem}.jsonl", 0, "no such file")
        return {}
    texts: dict[str, str] = {}
    for line, value in objects(path, problems):
        name = value.get("_id")
        parts = [value.get(key) or "" for key in keys]
        if not is_text(name) or not isinstance(name, str) or keys[-1] not in value:
            problems.add(path, line, f"'_id' (a text) or {keys[-1]!r} is missing")
            continue
        if name in texts:
            problems.add(path, line, "repeated _id", name)
        text = " ".join(part for part in parts if isinstance(part, str)).strip()
        if not is_text(text) or not all(isinstance(part, str) for part in parts):
            problems.add(path, line, f"{' and '.join(keys)} hold no text")
        texts[name] = text
    return texts


def _qrels(path: Path, problems: Problems) -> list[tuple[int, str, str, float]]:
    """``(line, query id, corpus id, grade)`` of every judgment."""
    judged: list[tuple[int, str, str, float]] = []
    first: dict[tuple[str, str], int] = {}
    for line, (query, passage, score) in records(path, 3, problems):
        if line == 1:
            if [query, passage, score] != HEADER:
                problems.add(path, 1, "header is not query-id TAB corpus-id TAB score")
            continue
        try:
            grade = float(score)
        except ValueError:
            grade = math.nan
        if not math.isfinite(grade):
            problems.add(path, line, "score is no number", repr(score))
        elif first.setdefault((query, passage), line) != line:
            problems.add(path, line, "repeated pair", f"first on line {first[query, passage]}")
        else:
            judged.append((line, query, passage, grade))
    if not any(grade > 0 for *_, grade in judged):
        problems.add(path, 0, "no pair with a score over 0")
    return judged


FORMAT = Format(
    "BEIR",
    "corpus.jsonl with queries.jsonl and qrels/",
    lambda place: place.is_dir() and has_any(place, ["queries"], [".jsonl"]),
    read,
)
