"""Building a :class:`DataSet`: equal texts are merged into one id, and rows are gathered by split, and checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from bench.data.dataset import DataSet, Floats, Ids, Ragged, Sample, Split, appended
from bench.data.fingerprint import with_fingerprint
from bench.data.lookalikes import codes, ids, labels
from bench.data.splits import SPLITS
from bench.data.validation import Problems

SHOWN = 3  # rows of each file


@dataclass
class _Rows:
    """A split while it is read. The mappings are query id → {passage id → its number or None}."""

    grades: dict[int, dict[int, float | None]] = field(default_factory=dict)
    positive_scores: dict[int, dict[int, float | None]] = field(default_factory=dict)
    negative_scores: dict[int, dict[int, float | None]] = field(default_factory=dict)
    groups: dict[int, str] = field(default_factory=dict)  # by query id
    places: dict[tuple[int, int], tuple[Path, int]] = field(default_factory=dict)  # (query, passage) → its first line
    negative_at: tuple[Path, int] = (Path(), 0)  # the first negative


class Builder:
    """Collects texts and relations in file order and builds the data set.

    Readers call :meth:`corpus` for every entry of the corpus first, then :meth:`pair` and :meth:`negative`.
    A passage that first appears there is stored after the corpus: it is trained on but not searched. What is checked
    here is checked for every format.
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
        self._samples: dict[str, list[Sample]] = {}
        self._query_names: dict[str, str] = {}
        self._passage_names: list[str] = []

    def name_queries(self, names: Mapping[str, str]) -> None:
        """The source's id of each query, by its text."""
        self._query_names = dict(names)

    def corpus(self, text: str, name: str | None = None) -> int:
        """Add an entry of the corpus, with the ``name`` that the source gives it, if any; the id of its text.

        Of equal entries the first one's name stays. To be called before any :meth:`pair`.
        """
        self._entries += 1
        if text not in self._passages:
            self._passage_names.append(name or str(self._entries))
        passage = self._passages.setdefault(text, len(self._passages))
        self._searchable = len(self._passages)
        return passage

    def show(self, path: Path, cells: Iterable[tuple[str, str]]) -> None:
        """Keep a row as it was read, as (role, text), if it is one of the first of its file."""
        kept = self._samples.setdefault(path.name, [])
        if len(kept) < SHOWN:
            kept.append(tuple(islice(cells, 2 * SHOWN)))

    def pair(
        self,
        split: str,
        query: str,
        positive: str,
        at: tuple[Path, int],
        *,
        grade: float | None = None,
        score: float | None = None,
    ) -> None:
        """``positive`` is relevant to ``query``. ``grade`` is the source's, ``score`` a teacher's.

        ``at`` is the pair's file and line. A repeated pair is merged, counted, and keeps the highest grade. A dev or
        test positive that the corpus lacks loses its pair.
        """
        passage = self._passages.get(positive)
        if split != "train" and (passage is None or passage >= self._searchable):
            self.problems.lose(*at, f"{split} positive missing from the corpus", _short(positive))
            return
        passage = self._passages.setdefault(positive, len(self._passages))
        rows = self._splits.setdefault(split, _Rows())
        q = self._queries.setdefault(query, len(self._queries))
        rows.places.setdefault((q, passage), at)
        relevant = rows.grades.setdefault(q, {})
        if passage not in relevant:
            relevant[passage] = grade
            rows.positive_scores.setdefault(q, {})[passage] = score
            return
        self.problems.tell(f"repeated pairs of {split}, joined")
        if grade is not None:
            relevant[passage] = max(grade, relevant[passage] or 0.0)

    def group(self, split: str, query: str, group: str) -> None:
        """A query that has a pair in the split is of a group; the first one that the source gives counts."""
        if self._splits[split].groups.setdefault(self._queries[query], group) != group:
            self.problems.tell(f"rows of {split} with another group than the first row of their query")

    def negative(self, split: str, query: str, negative: str, at: tuple[Path, int], score: float | None = None) -> None:
        """``negative`` is a negative that the source gives for a query; repeated ones are merged.

        One whose query has no pair in the split is left out.
        """
        rows, q = self._splits.get(split), self._queries.get(query, -1)
        if rows is None or q not in rows.grades:
            self.problems.tell(f"negatives of {split} queries without a positive, left out")
            return
        passage = self._passages.setdefault(negative, len(self._passages))
        if not rows.negative_scores:
            rows.negative_at = at
        rows.negative_scores.setdefault(q, {}).setdefault(passage, score)

    def require(self, split: str, files: Sequence[Path]) -> None:
        """Note an error for a split that has files but came to no pair, where nothing was said of them yet."""
        if split not in self._splits and not any(problem.path in files for problem in self.problems.found):
            self.problems.add(files[0], 0, f"no row of {split} is a pair that can be used")

    def has_pair(self, split: str, query: str, positive: str) -> bool:
        """Whether the split has this pair."""
        pair = (self._queries.get(query, -1), self._passages.get(positive, -1))
        return split in self._splits and pair in self._splits[split].places

    def part(self, name: str, split: str, pairs: Iterable[tuple[int, str, str]], path: Path) -> None:
        """Name a subset of ``split``: the queries of ``(line, query, positive)``, all pairs of the split."""
        position = {q: i for i, q in enumerate(self._splits[split].grades)} if split in self._splits else {}
        members = set()
        for line, query, positive in pairs:
            if self.has_pair(split, query, positive):
                members.add(position[self._queries[query]])
            else:
                self.problems.lose(path, line, f"line is no pair of {split}", _short(query))
        self._parts[name] = (split, np.array(sorted(members), dtype=np.int64))

    def build(self, source: Path) -> DataSet:
        """The data set. Raises :class:`DataError` with all problems, an empty ``source`` among them."""
        for name, rows in self._splits.items():
            self._check(name, rows)
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
            notices=dict(self.problems.notices),
            samples={name: tuple(rows) for name, rows in self._samples.items()},
            passage_ids=tuple(self._passage_names),
            query_ids=tuple(self._query_names[text] for text in self._queries) if self._query_names else (),
        )
        return with_fingerprint(data)

    def _check(self, name: str, rows: _Rows) -> None:
        """Look-alikes of the format, and negatives that are positives."""
        passages = list(self._passages)
        positives = Counter(passages[p] for of in rows.grades.values() for p in of)
        negatives = Counter(passages[p] for of in rows.negative_scores.values() for p in of)
        first = next(iter(rows.places.values()))
        if told := labels(negatives, positives):
            self.problems.add(*rows.negative_at, f"the negatives of {name} are labels or scores, no passages", told)
        if told := labels(positives):
            self.problems.add(*first, f"the positives of {name} are labels or scores, no passages", told)
        queries = Counter({query: len(rows.grades[q]) for query, q in self._queries.items() if q in rows.grades})
        for what, texts in (("queries", queries), ("positives", positives)):
            if told := codes(texts):
                self.problems.tell(f"the {what} of {name} may be ids, no texts: {told}")
        if told := ids(queries):
            self.problems.add(*first, f"the queries of {name} are numbers, no texts", told)
        both = [(q, p) for q, ids in rows.negative_scores.items() for p in ids if p in rows.grades[q]]
        if 2 * len(both) >= negatives.total() and both:
            many = f"{len(both):,} of {negatives.total():,} negatives"
            path, line = rows.places[both[0]]
            self.problems.lose(path, line, f"most negatives of {name} are positives of their own query", many)
        for q, p in both:
            del rows.negative_scores[q][p]
        self.problems.tell(f"negatives of {name} that are positives of their query, left out", len(both))


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
        groups=appended((), (rows.groups[q] for q in queries))[1] if rows.groups else None,
    )


def _numbers(rows: Mapping[int, Mapping[int, float | None]], queries: Sequence[int]) -> Floats | None:
    """The numbers of the rows, flat; None when there are none. Readers ensure that all rows have numbers, or none."""
    flat = [value for q in queries for value in rows.get(q, {}).values()]
    given = [value for value in flat if value is not None]
    return np.array(given, dtype=np.float32) if given and len(given) == len(flat) else None


def _short(text: str) -> str:
    """A text cut to what fits in a message."""
    return repr(text if len(text) <= 40 else text[:39] + "…")
