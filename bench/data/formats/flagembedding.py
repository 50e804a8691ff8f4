"""FlagEmbedding's fine-tuning format: JSON Lines of ``query``, ``pos``, ``neg`` and a teacher's scores.

DataSource: github.com/FlagOpen/FlagEmbedding, ``examples/finetune/embedder/README.md`` and
``FlagEmbedding/abc/finetune/embedder/AbsDataset.py``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.data.build import SPLITS, Builder
from bench.data.dataset import DataSet
from bench.data.formats.base import Format, has_any
from bench.data.lines import find, is_text, objects
from bench.data.validation import Problems


@dataclass(frozen=True)
class _Row:
    """One line, checked: its place, its query, and its texts with a teacher's score or None."""

    at: tuple[Path, int]
    query: str
    pos: list[tuple[str, float | None]]
    neg: list[tuple[str, float | None]]


def read(path: Path) -> DataSet:
    """The data set in the directory ``path`` (``train.jsonl``, ``dev``, ``test``) or in one file (all train).

    The corpus is ``corpus.jsonl`` (``{"text": ...}``) when the directory has it, and otherwise every ``pos``
    and ``neg`` of all splits. Other keys of a line are ignored. Raises :class:`DataError`.
    """
    problems = Problems()
    builder = Builder(path.name.removesuffix(".gz").removesuffix(".jsonl"), problems)
    if path.is_file():
        files, corpus = {"train": path}, None
    else:
        found = {split: find(path, [split], [".jsonl"]) for split in SPLITS}
        files = {split: file for split, file in found.items() if file is not None}
        corpus = find(path, ["corpus"], [".jsonl"])
    splits = {split: list(_rows(file, problems)) for split, file in files.items()}
    if corpus is not None:
        for line, value in objects(corpus, problems):
            if is_text(value.get("text")):
                builder.corpus(value["text"])
            else:
                problems.add(corpus, line, "'text' is missing or no text")
    else:
        rows = [row for split in splits.values() for row in split]
        for text in dict.fromkeys(text for row in rows for text, _ in (*row.pos, *row.neg)):
            builder.corpus(text)
    for split, rows in splits.items():
        for row in rows:
            for positive, score in row.pos:
                builder.pair(split, row.query, positive, row.at, score=score)
            for negative, score in row.neg:
                builder.negative(split, row.query, negative, score)
    return builder.build(path)


def _rows(path: Path, problems: Problems) -> Iterator[_Row]:
    """The lines of one split that hold what they must; either all of them have scores, or none."""
    scored: dict[str, bool] = {}
    for line, value in objects(path, problems):
        wrong = _wrong(value)
        for key in ("pos", "neg"):
            has = f"{key}_scores" in value
            if not wrong and value.get(key) and scored.setdefault(key, has) != has:
                wrong = f"'{key}_scores' on some lines only"
        if wrong:
            problems.add(path, line, wrong)
            continue
        yield _Row((path, line), value["query"], _scored(value, "pos"), _scored(value, "neg"))


def _scored(value: dict[str, Any], key: str) -> list[tuple[str, float | None]]:
    texts = value.get(key, [])
    return list(zip(texts, value.get(f"{key}_scores", [None] * len(texts)), strict=True))


def _wrong(value: dict[str, Any]) -> str | None:
    """What is wrong with a line, or None."""
    if not is_text(value.get("query")):
        return "'query' is missing or no text"
    for key, least in (("pos", 1), ("neg", 0)):
        texts = value.get(key, [])
        if not isinstance(texts, list) or not all(map(is_text, texts)):
            return f"{key!r} is no list of texts"
        if len(texts) < least:
            return f"{key!r} is missing or empty"
        scores = value.get(f"{key}_scores", [0.0] * len(texts))
        if not isinstance(scores, list) or not all(map(_is_number, scores)):
            return f"'{key}_scores' is no list of numbers"
        if len(scores) != len(texts):
            return f"'{key}_scores' and {key!r} differ in length"
    if set(value["pos"]) & set(value.get("neg", [])):
        return "a text is both in 'pos' and in 'neg'"
    return None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _fits(place: Path) -> bool:
    if place.is_file():
        return place.name.endswith((".jsonl", ".jsonl.gz"))
    return has_any(place, SPLITS, [".jsonl"])


FORMAT = Format("FlagEmbedding", "train.jsonl, dev.jsonl or test.jsonl", _fits, read)
