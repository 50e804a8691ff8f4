"""A retrieval data set in memory: texts, relevance judgments, and splits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]
Sample = tuple[tuple[str, str], ...]
"""A row as it was read: (role, text), such as ("query", "what is ...")."""


@dataclass(frozen=True)
class Ragged:
    """Rows of several lengths in two flat arrays (CSR); row ``i`` is ``values[offsets[i]:offsets[i+1]]``."""

    offsets: Ids  # [rows + 1], starts with 0
    values: Ids  # [offsets[-1]]

    @classmethod
    def of(cls, rows: Iterable[Sequence[int]]) -> Ragged:
        rows = list(rows)
        offsets = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum([len(row) for row in rows], out=offsets[1:])
        values = np.fromiter((v for row in rows for v in row), dtype=np.int64, count=int(offsets[-1]))
        return cls(offsets, values)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> Ids:
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> Ids:
        """[rows] number of values in each row."""
        return np.diff(self.offsets)

    def take(self, rows: Ids) -> Ragged:
        """The given rows, in the given order."""
        offsets = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum(self.lengths[rows], out=offsets[1:])
        return Ragged(offsets, self.values[self.positions(rows)])

    def positions(self, rows: Ids) -> Ids:
        """Positions of the given rows' values within ``values``, row after row."""
        lengths = self.lengths[rows]
        ends = np.cumsum(lengths)
        positions: Ids = np.arange(lengths.sum()) + np.repeat(self.offsets[rows] - (ends - lengths), lengths)
        return positions


def appended(texts: Sequence[str], further: Iterable[str]) -> tuple[tuple[str, ...], Ids]:
    """Distinct ``texts`` with those of ``further`` after them that they lack, and the id of each of ``further``."""
    known = {text: number for number, text in enumerate(texts)}
    ids = np.array([known.setdefault(text, len(known)) for text in further], dtype=np.int64)
    return tuple(known), ids


@dataclass(frozen=True)
class Split:
    """The queries of one split, and the passages relevant to each.

    ``queries`` [n] are distinct ids into ``DataSet.queries``; ``relevant`` has one row of passage ids per
    query, each row non-empty, without repeats, in file order; ``grades``, parallel to ``relevant.values``,
    is there where the source grades relevance (BEIR) and None where relevance is yes or no.
    ``negatives`` holds the negatives that the data set provides for each query (FlagEmbedding ``neg``), with
    ``negative_scores`` and ``positive_scores`` (a teacher's), parallel to the values, where given. ``groups`` [n] are
    the numbers of the queries' groups, where ``data.columns`` names a column of them.
    """

    queries: Ids
    relevant: Ragged
    grades: Floats | None = None
    negatives: Ragged | None = None
    positive_scores: Floats | None = None
    negative_scores: Floats | None = None
    groups: Ids | None = None

    def __len__(self) -> int:
        return len(self.queries)


@dataclass(frozen=True)
class TextPairs:
    """n pairs of texts, each with a score or a class.

    ``left`` [n] and ``right`` [n] are ids into ``DataSet.queries``: the two texts have the same role. ``label`` [n]
    holds scores, or where there are ``classes`` the place of each pair's class among them.
    """

    left: Ids
    right: Ids
    label: Floats
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.label)

    @property
    def texts(self) -> Ids:
        """Ids of the texts, in rising order."""
        return np.union1d(self.left, self.right)

    def first(self, count: int) -> TextPairs:
        """The first ``count`` pairs."""
        return replace(self, left=self.left[:count], right=self.right[:count], label=self.label[:count])

    def renumbered(self, new_id: Ids) -> TextPairs:
        """The same pairs where text ``i`` has the id ``new_id[i]``."""
        return replace(self, left=new_id[self.left], right=new_id[self.right])


@dataclass(frozen=True)
class DataSet:
    """Queries, passages, relevance per split, unlabelled texts, and pairs of texts with scores or classes.

    Texts are distinct within ``queries`` and within ``passages``: equal texts share an id. ``splits`` has
    ``train``, ``dev``, ``test`` where the source has them. ``parts`` names subsets of a split that are
    reported beside it: ``parts["dev_hard"] = ("dev", rows)``, rows being positions within the split.
    ``fingerprint`` is a hash of every text and every relation; equal content gives equal fingerprints.

    The corpus, which is what is searched, is the first ``searchable`` passages (-1: all of them). Those after
    it are only training positives or provided negatives: they are trained on, never retrieved. ``joined`` counts
    corpus entries whose text equals an earlier one's. ``notices`` count what else reading joined or left out, by kind,
    and ``samples`` are the first rows of each file; they are reported, and do not affect the fingerprint.

    ``tasks`` are sentence similarity tasks and inference sets by name, each with its splits.

    ``passage_ids`` of the corpus and ``query_ids`` are the names that the source gives the texts (BEIR). Where it gives
    none, a passage has the number of its entry in the corpus, and a query its place, counted from 1: see
    :meth:`passage_name` and :meth:`query_name`. They do not affect the fingerprint.
    """

    name: str
    queries: Sequence[str]
    passages: Sequence[str]
    splits: Mapping[str, Split]
    unlabelled: Sequence[str] = ()
    parts: Mapping[str, tuple[str, Ids]] = field(default_factory=dict)
    fingerprint: str = ""
    searchable: int = -1
    joined: int = 0
    notices: Mapping[str, int] = field(default_factory=dict)
    samples: Mapping[str, Sequence[Sample]] = field(default_factory=dict)
    tasks: Mapping[str, Mapping[str, TextPairs]] = field(default_factory=dict)
    passage_ids: Sequence[str] = ()
    query_ids: Sequence[str] = ()

    def passage_name(self, passage: int) -> str:
        """The source's id of a passage, or the number of its entry."""
        return self.passage_ids[passage] if passage < len(self.passage_ids) else str(passage + 1)

    def query_name(self, query: int) -> str:
        """The source's id of a query, or its place among the queries of all splits."""
        return self.query_ids[query] if query < len(self.query_ids) else str(query + 1)

    def text_pairs(self, split: str) -> dict[str, TextPairs]:
        """The pairs of texts of one split, by the name of their task."""
        return {name: splits[split] for name, splits in self.tasks.items() if split in splits}

    def scored(self, split: str) -> dict[str, TextPairs]:
        """Those of :meth:`text_pairs` that have scores."""
        return {name: pairs for name, pairs in self.text_pairs(split).items() if not pairs.classes}

    def classified(self, split: str) -> dict[str, TextPairs]:
        """Those of :meth:`text_pairs` that have classes."""
        return {name: pairs for name, pairs in self.text_pairs(split).items() if pairs.classes}

    @property
    def scored_tasks(self) -> dict[str, Mapping[str, TextPairs]]:
        """Those of ``tasks`` whose pairs have scores, in no split classes."""
        return {name: s for name, s in self.tasks.items() if not any(pairs.classes for pairs in s.values())}

    @property
    def vocabulary_texts(self) -> Sequence[str]:
        """The texts that a vocabulary may be learnt from: the passages, or where there are none the queries."""
        return self.passages or self.queries

    @property
    def corpus_size(self) -> int:
        """Number of passages that are searched: ``passages[:corpus_size]`` is the corpus."""
        return len(self.passages) if self.searchable < 0 else self.searchable

    @property
    def counts(self) -> dict[str, int]:
        """Numbers of passages, of those searched, of unlabelled texts, and of queries and pairs per split."""
        counts = {
            "passages": len(self.passages),
            "corpus": self.corpus_size,
            "unlabelled": len(self.unlabelled),
        }
        for name, split in self.splits.items():
            counts[f"{name}_queries"] = len(split)
            counts[f"{name}_pairs"] = len(split.relevant.values)
            if split.negatives is not None:
                counts[f"{name}_negatives"] = len(split.negatives.values)
        for task, of_task in self.tasks.items():
            counts |= {f"{task}_{name}_texts": len(pairs) for name, pairs in of_task.items()}
        return counts
