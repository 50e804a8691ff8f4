"""Inspection of a data set before training: counts, lengths, problems, and unusual findings."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np

from bench.data.dataset import DataSet, Ragged, Sample, Split, TextPairs
from bench.data.load import DataConfig, source
from bench.data.validation import DataError, Problem, describe

WIDTH = 100
SHOWN = 20


@dataclass(frozen=True)
class Lengths:
    """Lengths of texts in characters."""

    mean: float
    median: float
    p95: float
    max: int


@dataclass(frozen=True)
class Inspection:
    """The result of :func:`inspect`. Where there are ``problems``, nothing was loaded and the rest is empty.

    ``lengths`` is by kind of text; ``findings`` are (what, how many), zeros included. ``notices`` count what reading
    joined or left out, ``negatives`` are (smallest, median) numbers of distinct ones of a query by split, and
    ``samples`` the first rows of each file. ``tasks`` are pairs with scores or classes: how many, and their range of
    scores or number of each class, by the names of task and split.
    """

    name: str
    format: str
    place: str
    problems: tuple[Problem, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    parts: Mapping[str, int] = field(default_factory=dict)
    lengths: Mapping[str, Lengths] = field(default_factory=dict)
    findings: Sequence[tuple[str, int]] = ()
    notices: Mapping[str, int] = field(default_factory=dict)
    negatives: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    samples: Mapping[str, Sequence[Sample]] = field(default_factory=dict)
    tasks: Mapping[tuple[str, str], tuple[int, str]] = field(default_factory=dict)
    fingerprint: str = ""

    @property
    def ok(self) -> bool:
        """Whether the data set can be loaded; otherwise the command exits with status 2."""
        return not self.problems


def inspect(data: str | Path | DataConfig) -> Inspection:
    """Inspect a preset, a directory, a file or a ``hf:`` id, or what a configuration says (without its limits).

    Broken data is reported in ``problems``; :class:`UserError` is raised when there is nothing to read.
    """
    found = source(data if isinstance(data, DataConfig) else DataConfig(str(data)))
    try:
        read = found.read()
    except DataError as error:
        return Inspection(found.name, found.format, found.place, error.problems)
    return Inspection(
        found.name,
        found.format,
        found.place,
        counts=read.counts,
        parts={part: len(rows) for part, (_, rows) in read.parts.items()},
        lengths={kind: _lengths(group) for kind, group in _texts(read).items() if group},
        findings=_findings(read),
        notices=read.notices,
        negatives={name: _negatives(split) for name, split in read.splits.items() if split.negatives is not None},
        samples=read.samples,
        tasks={at: (len(pairs), _labels(pairs)) for at, pairs in _tasks(read)},
        fingerprint=read.fingerprint,
    )


def _tasks(data: DataSet) -> Iterator[tuple[tuple[str, str], TextPairs]]:
    """The pairs with scores or classes by (task, split)."""
    yield from (((task, split), pairs) for task, splits in data.tasks.items() for split, pairs in splits.items())


def _labels(pairs: TextPairs) -> str:
    """The range of the scores of some pairs, or the number of each class."""
    if not pairs.classes:
        return f"scores {pairs.label.min():g} to {pairs.label.max():g}"
    numbers = np.bincount(pairs.label.astype(np.int64), minlength=len(pairs.classes)).tolist()
    return ", ".join(f"{name} {number:,}" for name, number in zip(pairs.classes, numbers, strict=True))


def _texts(data: DataSet) -> dict[str, Sequence[str]]:
    """The texts of each kind. A text may be both a query and a sentence of a task."""
    queries = sorted({q for split in data.splits.values() for q in split.queries.tolist()})
    sentences = sorted({text for _, pairs in _tasks(data) for text in pairs.texts.tolist()})
    return {
        "queries": [data.queries[q] for q in queries],
        "passages": data.passages,
        "unlabelled": data.unlabelled,
        "sentences": [data.queries[text] for text in sentences],
    }


def _lengths(texts: Sequence[str]) -> Lengths:
    sizes = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    return Lengths(float(sizes.mean()), float(np.median(sizes)), float(np.percentile(sizes, 95)), int(sizes.max()))


def _negatives(split: Split) -> tuple[int, float]:
    """The smallest and the median number of distinct negatives of a query."""
    lengths = Ragged.of([[]]).lengths if split.negatives is None else split.negatives.lengths
    return int(lengths.min()), float(np.median(lengths))


def _findings(data: DataSet) -> list[tuple[str, int]]:
    """Findings that are no errors but worth knowing, with their counts."""
    found = []
    if data.passages:
        found.append(("corpus lines joined with an equal one", data.joined))
        outside = len(data.passages) - data.corpus_size
        found.append(("passages outside the corpus: trained on, not searched", outside))
    for name, split in data.splits.items():
        found.append((f"{name} queries with several positives", int((split.relevant.lengths > 1).sum())))
        found.append((f"{name} queries equal to a positive of theirs", _copies(data, split)))
    for (one, a), (other, b) in combinations(data.splits.items(), 2):
        queries = np.intersect1d(a.queries, b.queries)
        passages = np.intersect1d(a.relevant.values, b.relevant.values)
        found.append((f"queries both in {one} and in {other}", len(queries)))
        found.append((f"passages positive both in {one} and in {other}", len(passages)))
    for task, splits in data.tasks.items():
        for (one, left), (other, right) in combinations(splits.items(), 2):
            found.append((f"pairs of {task} both in {one} and in {other}", len(_both(left) & _both(right))))
    return found


def _both(pairs: TextPairs) -> set[tuple[int, int]]:
    """The two texts of each pair, in whichever order."""
    ends = np.sort(np.stack([pairs.left, pairs.right], axis=1), axis=1)
    return set(map(tuple, ends.tolist()))


def _copies(data: DataSet, split: Split) -> int:
    """Number of queries that are their own answer: a hit for them says nothing about the encoder."""
    queries = np.repeat(split.queries, split.relevant.lengths).tolist()
    pairs = zip(queries, split.relevant.values.tolist(), strict=True)
    return len({q for q, p in pairs if data.queries[q] == data.passages[p]})


def render(inspection: Inspection, shown: int = SHOWN) -> str:
    """The inspection as text of at most 100 columns, with the first ``shown`` problems."""
    head = [f"{inspection.name}  ({inspection.format}, {inspection.place})"]
    if not inspection.ok:
        return "\n".join(_wrapped([*head, *describe(inspection.problems, shown).splitlines()]))
    lines = [f"fingerprint {inspection.fingerprint}", "", *_splits(inspection), *_labelled(inspection)]
    lines += [f"{'characters':<12}{'mean':>10}{'median':>10}{'95 %':>10}{'longest':>10}"]
    for kind, n in inspection.lengths.items():
        lines.append(f"{kind:<12}{n.mean:>10,.1f}{n.median:>10,.1f}{n.p95:>10,.1f}{n.max:>10,}")
    if inspection.findings:
        lines.append("")
    lines += [f"{number:>10,}  {what}" for what, number in inspection.findings if number]
    clean = [what for what, number in inspection.findings if not number]
    lines += [f"{'none':>10}  {what}" for what in clean]
    if inspection.notices:
        lines += ["", "what reading joined, left out or found unusual"]
        lines += [f"{number:>10,}  {what}" for what, number in inspection.notices.items()]
    return "\n".join([*_wrapped([*head, *lines]), *_rows(inspection.samples)])


def _rows(samples: Mapping[str, Sequence[Sample]]) -> Iterator[str]:
    """The first rows of each file as they were read, a line for each text, cut to the width."""
    for name, rows in samples.items():
        yield from ("", f"first rows of {name}")
        for row in rows:
            for number, (role, text) in enumerate(row):
                shown = f"  {'' if number else '-'}{' ' * bool(number)} {role + ':':<10} {' '.join(text.split())}"
                yield shown if len(shown) <= WIDTH else shown[: WIDTH - 1] + "…"


def _splits(inspection: Inspection) -> list[str]:
    """The table of counts, empty where there are only pairs with scores or classes."""
    counts = inspection.counts
    if inspection.tasks and not counts["passages"]:
        return []
    lines = [f"{'':<12}{'queries':>10}{'pairs':>10}"]
    for split in [key.removesuffix("_queries") for key in counts if key.endswith("_queries")]:
        lines.append(f"{split:<12}{counts[f'{split}_queries']:>10,}{counts[f'{split}_pairs']:>10,}")
    lines += [f"{part:<12}{number:>10,}" for part, number in inspection.parts.items()]
    rest = [f"{key:<16}{counts[key]:>6,}" for key in ("corpus", "passages", "unlabelled")]
    for split, (least, median) in inspection.negatives.items():
        number = f"{split + ' negatives':<16}{counts[f'{split}_negatives']:>6,}"
        rest.append(f"{number}  (of a query: smallest number {least:,}, median {median:g})")
    return [*lines, "", *rest, ""]


def _labelled(inspection: Inspection) -> list[str]:
    """The table of pairs with scores or classes, empty where there are none."""
    if not inspection.tasks:
        return []
    width = max(12, *(len(f"{task} {split} ") for task, split in inspection.tasks))
    lines = [f"{'':<{width}}{'pairs':>10}  scores or classes"]
    for (task, split), (number, labels) in inspection.tasks.items():
        lines.append(f"{f'{task} {split}':<{width}}{number:>10,}  {labels}")
    return [*lines, ""]


def _wrapped(lines: Sequence[str]) -> list[str]:
    """Lines cut to the width at spaces, and within a word only where it is longer than a line."""
    wrapped: list[str] = []
    for line in lines:
        fits = len(line) <= WIDTH
        wrapped += [line] if fits else textwrap.wrap(line, WIDTH, subsequent_indent="    ", break_on_hyphens=False)
    return wrapped
