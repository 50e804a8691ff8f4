"""Pseudo-similar pairs: two sentences of one document that share most of their characters or words.

Source: RoFormer-Sim (Su 2021): sentences of one passage, or of the answers to one question, are a pair when a
rule-based similarity of their characters, "a variant of Jaccard's", exceeds a threshold, which is higher for passages.
It states neither the variant nor the thresholds. Here the similarity of two sentences is that of the multisets of their
units (:func:`bench.data.sentences.units`), ``sum_u min(a_u, b_u) / sum_u max(a_u, b_u)`` with ``a_u`` how often ``u``
is in ``a``. In languages with spaces the unit is the word, because all English sentences share most letters.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import numpy as np
from scipy.sparse import csr_array, triu

from bench.atomic import atomic_directory, explain_write_errors
from bench.data.lines import raw_lines
from bench.data.sentences import fault, sentences, units
from bench.data.sources import by_hash
from bench.data.splits import SPLITS
from bench.data.validation import Problems
from bench.errors import UserError
from bench.progress import Task, unwatched

THRESHOLDS = {"passages": 0.6, "answers": 0.4}  # chosen here; the source says only which is higher
MOST_SENTENCES = 1000  # of a document: all pairs of them are compared
MOST_CHARACTERS = 200_000  # of a document in memory
OFTEN = 100  # documents between two steps of the progress

Similar = tuple[float, int, int]


@dataclass
class Made:
    """What was made: numbers of documents, of sentences, of pairs by split, and of what was left out by its reason."""

    documents: int = 0
    sentences: int = 0
    pairs: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    problems: Problems = field(default_factory=lambda: Problems(skip_broken=True))


def documents(lines: Iterable[str], by_line: bool, left_out: Counter[str]) -> Iterator[str]:
    """The documents of a file: each line, or the lines up to a blank one, of which the first characters are kept."""
    kept: list[str] = []
    size = 0
    for line in chain(lines, [""]):
        if kept and (by_line or not line.strip()):
            yield "\n".join(kept)[:MOST_CHARACTERS]
            left_out[f"documents, cut after {MOST_CHARACTERS:,} characters"] += size > MOST_CHARACTERS
            kept, size = [], 0
        if line.strip():
            kept += [line] if size < MOST_CHARACTERS else []
            size += len(line) + 1


def similar(of: Sequence[Sequence[str]], threshold: float) -> list[Similar]:
    """``(similarity, i, j)`` of the sentences i < j, given by their units, that are at least ``threshold`` similar.

    The highest comes first. The k-th occurrence of a unit is a thing of its own, so that multisets are sets.
    """
    places: dict[tuple[str, int], int] = {}
    rows, columns = [], []
    for row, found in enumerate(of):
        times: Counter[str] = Counter()
        for unit in found:
            rows.append(row)
            columns.append(places.setdefault((unit, times[unit]), len(places)))
            times[unit] += 1
    there = csr_array((np.ones(len(rows), dtype=np.int32), (rows, columns)), shape=(len(of), len(places)))
    shared = triu(there @ there.T, k=1).tocoo()
    size = np.array([len(found) for found in of])
    value = shared.data / (size[shared.row] + size[shared.col] - shared.data)
    kept = value >= threshold
    pairs = zip(value[kept].tolist(), shared.row[kept].tolist(), shared.col[kept].tolist(), strict=True)
    return sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2]))


def sided(pairs: Iterable[Similar]) -> Iterator[tuple[int, int]]:
    """The pairs as (query, passage), where no sentence is both: it would find itself in the corpus.

    The more similar pairs decide, and a pair of two queries or of two passages is left out.
    """
    asks: dict[int, bool] = {}
    for _, a, b in pairs:
        first = asks.setdefault(a, not asks[b] if b in asks else True)
        if asks.setdefault(b, not first) != first:
            yield (a, b) if first else (b, a)


def make(
    files: Sequence[tuple[Path, BinaryIO | None]], out: Path, threshold: float, by_line: bool, task: Task = unwatched
) -> Made:
    """Write the pairs of all documents into the directory ``out``: train, dev, test and corpus.

    ``files`` are read from their path, or from an open stream. The text of a document decides its split. What is equal
    but for case and punctuation stands once. Memory holds one document, and a digest of every sentence of a pair.
    Raises :class:`UserError` for what cannot be read or written, and when there is no pair to train on.
    """
    if not 0 < threshold <= 1:
        raise UserError(f"--threshold {threshold:g} is no similarity: it must be above 0 and at most 1")
    made, known = Made(), set[bytes]()
    otherwise = f", or use the data set there: data={out}"
    with (
        atomic_directory(out, otherwise) as part,
        ExitStack() as opened,
        task("documents", None) as advance,
    ):
        with explain_write_errors(out):
            written = {n: opened.enter_context((part / f"{n}.tsv").open("wb")) for n in (*SPLITS, "corpus")}
        for document in _read(files, by_line, made):
            split, pairs = by_hash(document), list(_pairs_of(document, threshold, made, known))
            passages = dict.fromkeys(passage for _, passage in pairs)
            with explain_write_errors(out):
                written[split].write("".join(f"{query}\t{passage}\n" for query, passage in pairs).encode())
                written["corpus"].write("".join(f"{passage}\n" for passage in passages).encode())
            made.pairs[split] += len(pairs)
            if made.documents % OFTEN == 0:
                advance(OFTEN)
        with explain_write_errors(out):
            opened.close()
        if not made.pairs["train"]:
            raise UserError(_nothing(made, threshold))
        for split in SPLITS:
            if not made.pairs[split]:
                (part / f"{split}.tsv").unlink()
    return made


def _read(files: Sequence[tuple[Path, BinaryIO | None]], by_line: bool, made: Made) -> Iterator[str]:
    for path, stream in files:
        lines = (line for _, line in raw_lines(path, made.problems, stream))
        for document in documents(lines, by_line, made.left_out):
            made.documents += 1
            yield document
        made.problems.raise_if_any()


def _pairs_of(document: str, threshold: float, made: Made, known: set[bytes]) -> Iterator[tuple[str, str]]:
    """The pairs of a document; ``known`` are digests of the sentences of earlier pairs, to which its own are added."""
    texts: list[str] = []
    of: list[list[str]] = []
    keys: dict[bytes, None] = {}
    for text in sentences(document):
        made.sentences += 1
        found = units(text)
        key = hashlib.blake2b(" ".join(found).encode(), digest_size=8).digest()
        if reason := fault(text, found):
            made.left_out[f"sentences: {reason}"] += 1
        elif key in known or key in keys:
            made.left_out["sentences: repeated, but for case and punctuation"] += 1
        elif len(texts) == MOST_SENTENCES:
            made.left_out[f"sentences: after the first {MOST_SENTENCES:,} of a document"] += 1
        else:
            texts.append(text)
            of.append(found)
            keys[key] = None
    pairs, ordered = similar(of, threshold), list(keys)
    chosen = list(sided(pairs))
    made.left_out["pairs of two queries or of two passages"] += len(pairs) - len(chosen)
    for query, passage in chosen:
        known.update((ordered[query], ordered[passage]))
        yield texts[query], texts[passage]


def _nothing(made: Made, threshold: float) -> str:
    usable = made.sentences - sum(n for why, n in made.left_out.items() if why.startswith("sentences"))
    where = f"{made.documents:,} documents with {usable:,} usable sentences"
    if made.pairs.total():
        return f"none of the {made.pairs.total():,} pairs is of train: {where} are too few to be split"
    return (
        f"no two sentences of a document are {threshold:g} similar, in {where}; "
        "lower --threshold, or see whether --document fits"
    )
