"""Inspection of a data set before training: counts, lengths, problems, and unusual findings."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np

from bench.data.dataset import DataSet, Split
from bench.data.presets import find_source
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

    ``lengths`` is by kind of text; ``findings`` are (what, how many), zeros included.
    """

    name: str
    format: str
    place: str
    problems: tuple[Problem, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    parts: Mapping[str, int] = field(default_factory=dict)
    lengths: Mapping[str, Lengths] = field(default_factory=dict)
    findings: Sequence[tuple[str, int]] = ()
    fingerprint: str = ""

    @property
    def ok(self) -> bool:
        """Whether the data set can be loaded; otherwise the command exits with status 2."""
        return not self.problems


def inspect(name: str | Path, path: str | None = None) -> Inspection:
    """Inspect a preset (with its directory ``path``), a directory, a file or a ``hf:`` id.

    Broken data is reported in ``problems``; :class:`UserError` is raised when there is nothing to read.
    """
    found = find_source(str(name), path)
    try:
        data = found.read()
    except DataError as error:
        return Inspection(found.name, found.format, found.place, error.problems)
    texts = {"queries": data.queries, "passages": data.passages, "unlabelled": data.unlabelled}
    return Inspection(
        found.name,
        found.format,
        found.place,
        counts=data.counts,
        parts={part: len(rows) for part, (_, rows) in data.parts.items()},
        lengths={kind: _lengths(group) for kind, group in texts.items() if group},
        findings=_findings(data),
        fingerprint=data.fingerprint,
    )


def _lengths(texts: Sequence[str]) -> Lengths:
    sizes = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    return Lengths(float(sizes.mean()), float(np.median(sizes)), float(np.percentile(sizes, 95)), int(sizes.max()))


def _findings(data: DataSet) -> list[tuple[str, int]]:
    """Findings that are no errors but worth knowing, with their counts."""
    found = [
        ("corpus lines joined with an equal one", data.joined),
        ("passages outside the corpus: trained on, not searched", len(data.passages) - data.corpus_size),
    ]
    for name, split in data.splits.items():
        found.append((f"{name} queries with several positives", int((split.relevant.lengths > 1).sum())))
        found.append((f"{name} queries equal to a positive of theirs", _copies(data, split)))
    for (one, a), (other, b) in combinations(data.splits.items(), 2):
        queries = np.intersect1d(a.queries, b.queries)
        passages = np.intersect1d(a.relevant.values, b.relevant.values)
        found.append((f"queries both in {one} and in {other}", len(queries)))
        found.append((f"passages positive both in {one} and in {other}", len(passages)))
    return found


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
    lines = [f"fingerprint {inspection.fingerprint}", "", *_splits(inspection), ""]
    lines += [f"{'characters':<12}{'mean':>10}{'median':>10}{'95 %':>10}{'longest':>10}"]
    for kind, n in inspection.lengths.items():
        lines.append(f"{kind:<12}{n.mean:>10,.1f}{n.median:>10,.1f}{n.p95:>10,.1f}{n.max:>10,}")
    lines.append("")
    lines += [f"{number:>10,}  {what}" for what, number in inspection.findings if number]
    clean = [what for what, number in inspection.findings if not number]
    lines += [f"{'none':>10}  {what}" for what in clean]
    return "\n".join(_wrapped([*head, *lines]))


def _splits(inspection: Inspection) -> list[str]:
    """The table of counts."""
    counts = inspection.counts
    lines = [f"{'':<12}{'queries':>10}{'pairs':>10}"]
    for split in [key.removesuffix("_queries") for key in counts if key.endswith("_queries")]:
        lines.append(f"{split:<12}{counts[f'{split}_queries']:>10,}{counts[f'{split}_pairs']:>10,}")
    lines += [f"{part:<12}{number:>10,}" for part, number in inspection.parts.items()]
    own = {key.replace("_", " "): number for key, number in counts.items() if key.endswith("_negatives")}
    rest = {key: counts[key] for key in ("corpus", "passages", "unlabelled")} | own
    return [*lines, "", *(f"{key:<16}{number:>6,}" for key, number in rest.items())]


def _wrapped(lines: Sequence[str]) -> list[str]:
    """Lines cut to the width at spaces, and within a word only where it is longer than a line."""
    wrapped: list[str] = []
    for line in lines:
        fits = len(line) <= WIDTH
        wrapped += [line] if fits else textwrap.wrap(line, WIDTH, subsequent_indent="    ", break_on_hyphens=False)
    return wrapped
