"""Building a :class:`DataSet`: equal texts are merged into one id, and rows are gathered by split."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.data.dataset import DataSet, Floats, Ids, Ragged, Split
from bench.data.fingerprint import with_fingerprint
from bench.data.validation import Problems

SPLITS = ("train", "dev", "test")


@dataclass
class _Rows:
    """A split while it is read. The mappings are query id → {passage id → its number or None}."""

    grades: dict[int, dict[int, float | None]] = field(default_factory=dict)
    positive_scores: dict[int, dict[int, float | None]] = field(default_factory=dict)
    negative_scores: dict[int, dict[int, float | None]] = field(default_factory=dict)
    lines: dict[tuple[int, int], int] = field(default_factory=dict)  # (query, passage) → line of the pair


class Builder:
    """Collects texts and relations in file order and builds the data set.

    Readers call :meth:`corpus` for every entry of the corpus first, then :meth:`pair` and :meth:`negative`.
    A passage that first appears there is stored after the corpus: it is trained on but not searched.
    """

    def __init__(self, name: str, problems: Problems) -> None:
        self.name = name
        self.problems = problems
        self.unlabelled: list[str] = []
        self._queries: dict[str, int] = {}
        self._passages: dict[str, int] = {}
        self._searchable = 0
        self._entries = 0
        self._splits: dict[str, _Rows] = {}
        self._parts: dict[str, tuple[str, Ids]] = {}

    def corpus(self, text: str) -> int:
        """Add an entry of the corpus; the id of its text. To be called before any :meth:`pair`."""
        self._entries += 1
        passage = self._passages.setdefault(text, len(self._passages))
        self._searchable = len(self._passages)
        return passage

    def pair(
        self,
        split: str,
        query: str,
        positive: str,
        at: tuple[Path, int],
        *,
        grade: float | None = None,
        score: float | None = None,
        repeatable: bool = False,
    ) -> None:
        """``positive`` is relevant to ``query``. ``grade`` is the source's, ``score`` a teacher's.

        ``at`` is the pair's file and line. A repeated pair is a problem, unless it is ``repeatable`` (two ids
        of the source may have equal texts): then it is merged and keeps the highest grade. A dev or test positive
        that the corpus lacks is a problem too.
        """
        path, line = at
        passage = self._passages.setdefault(positive, len(self._passages))
        if split != "train" and passage >= self._searchable:
            self.problems.add(path, line, f"{split} positive missing from the corpus", _short(positive))
        rows = self._splits.setdefault(split, _Rows())
        q = self._queries.setdefault(query, len(self._queries))
        first = rows.lines.setdefault((q, passage), line)
        relevant = rows.grades.setdefault(q, {})
        if passage not in relevant:
            relevant[passage] = grade
            rows.positive_scores.setdefault(q, {})[passage] = score
        elif not repeatable:
            self.problems.add(path, line, "repeated pair", f"first on line {first}")
        elif grade is not None:
            relevant[passage] = max(grade, relevant[passage] or 0.0)

    def negative(self, split: str, query: str, negative: str, score: float | None = None) -> None:
        """``negative`` is a negative that the source gives for a query with a pair; repeated ones are merged."""
        passage = self._passages.setdefault(negative, len(self._passages))
        rows = self._splits[split].negative_scores
        rows.setdefault(self._queries[query], {}).setdefault(passage, score)

    def part(self, name: str, split: str, pairs: Iterable[tuple[int, str, str]], path: Path) -> None:
        """Name a subset of ``split``: the queries of ``(line, query, positive)``, all pairs of the split."""
        rows = self._splits.get(split, _Rows())
        position = {q: i for i, q in enumerate(rows.grades)}
        seen: dict[tuple[int, int], int] = {}
        for line, query, positive in pairs:
            pair = (self._queries.get(query, -1), self._passages.get(positive, -1))
            if pair not in rows.lines:
                self.problems.add(path, line, f"line is no pair of {split}", _short(query))
            elif pair in seen:
                self.problems.add(path, line, "repeated pair", f"first on line {seen[pair]}")
            else:
                seen[pair] = line
        members = sorted({position[query] for query, _ in seen})
        self._parts[name] = (split, np.array(members, dtype=np.int64))

    def build(self, source: Path) -> DataSet:
        """The data set. Raises :class:`DataError` with all problems, an empty ``source`` among them."""
        self.problems.raise_if_any()
        if not self._searchable:
            self.problems.add(source, 0, "empty corpus")
        if not self._splits:
            self.problems.add(source, 0, "no pair in any of train, dev and test")
        self.problems.raise_if_any()
        splits = {name: _split(self._splits[name]) for name in SPLITS if name in self._splits}
        data = DataSet(
            self.name,
            tuple(self._queries),
            tuple(self._passages),
            splits,
            tuple(self.unlabelled),
            self._parts,
            searchable=self._searchable,
            joined=self._entries - self._searchable,
        )
        return with_fingerprint(data)


def _split(rows: _Rows) -> Split:
    """The arrays of one split, queries in the order of their first line."""
    queries = list(rows.grades)
    relevant = Ragged.of([list(rows.grades[q]) for q in queries])
    negatives = Ragged.of([list(rows.negative_scores.get(q, {})) for q in queries])
    return Split(
        np.array(queries, dtype=np.int64),
        relevant,
        grades=_numbers(rows.grades, queries),
        negatives=negatives if len(negatives.values) else None,
        positive_scores=_numbers(rows.positive_scores, queries),
        negative_scores=_numbers(rows.negative_scores, queries),
    )


def _numbers(rows: Mapping[int, Mapping[int, float | None]], queries: Sequence[int]) -> Floats | None:
    """The numbers of the rows, flat; None when there are none. Readers ensure that all rows have numbers, or none."""
    flat = [value for q in queries for value in rows.get(q, {}).values()]
    given = [value for value in flat if value is not None]
    return np.array(given, dtype=np.float32) if given and len(given) == len(flat) else None


def _short(text: str) -> str:
    """A text cut to what fits in a message."""
    return repr(text if len(text) <= 40 else text[:39] + "…")
