"""Runs set against published numbers: a repetition passes or fails, every other published number is context."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import inf

from bench.compare.row import StrategyRow
from bench.compare.seed_groups import group
from reports.blocks import Bullets, Cell, Prose, Section, Table, listed, number, section, table
from reports.documented import Documented, documented
from reports.parts import Part

_SHORT = {"recall": "R", "mrr": "MRR", "ndcg": "nDCG"}
_NOTE = (
    "Results that others have published, in percent. A run with the same data, backbone, strategy and settings is a "
    "repetition: it passes if it is within the tolerance, whose reason is given below. All other numbers are context "
    "and cannot be compared with the runs above."
)


def gate(groups: Sequence[Part], known: Sequence[Documented] | None = None) -> Section | None:
    """Every published row of the runs' kinds of evaluation, by data set, with the run that repeats it if there is one.

    Without runs it is every row of every kind.
    """
    rows = [row for g in groups for row in g.comparison.rows]
    kinds = {row.group.records[0].evaluation for row in rows}
    there = [e for e in (documented() if known is None else known) if not kinds or e.evaluation in kinds]
    by_data = group(there, lambda entry: entry.heading or entry.data)
    sections = [_of_data(data, entries, rows) for data, entries in by_data.items()]
    return section("Published results", Prose(_NOTE), *sections)


def repetition(entry: Documented, rows: Sequence[StrategyRow]) -> tuple[StrategyRow | None, list[str]]:
    """The row that repeats ``entry``, or else the settings in which the nearest row differs."""
    nearest: list[str] = ["data", "backbone"]
    fewest: float = inf
    for row in rows:
        apart = entry.differs(row.group.records[0])
        if not apart:
            return row, []
        if len(apart) < fewest:
            nearest, fewest = apart, len(apart)
    return None, nearest


def outcomes(entry: Documented, row: StrategyRow) -> list[tuple[str, float, float | None, str]]:
    """For each published metric: its name, the published value, our difference from it, and the outcome."""
    found: list[tuple[str, float, float | None, str]] = []
    for name, target in entry.metrics.items():
        if name not in row.metrics:
            found.append((name, target, None, "not measured"))
            continue
        difference = row.metrics[name].mean - target
        if entry.tolerance is None:
            said = "no tolerance stated"
        elif abs(difference) <= entry.tolerance:
            said = "pass"
        else:
            said = "FAIL, " + ("above" if difference > 0 else "below")
        found.append((name, target, difference, said))
    return found


def _of_data(data: str, entries: Sequence[Documented], rows: Sequence[StrategyRow]) -> Section | None:
    names = sorted(dict.fromkeys(name for entry in entries for name in entry.metrics), key=_order)
    repeated = [(entry, *repetition(entry, rows)) for entry in entries]
    checked = _checked([(entry, row) for entry, row, _ in repeated if row is not None])
    body = [
        [
            entry.label,
            entry.backbone or "not stated",
            *(number(entry.metrics.get(name)) for name in names),
            Cell("yes" if row else f"no: {listed(apart, 3)} differs", hint=entry.id),
        ]
        for entry, row, apart in repeated
    ]
    return section(
        data,
        section("Gate", checked),
        table(["published row", "backbone", *map(short, names), "comparable"], body, words=2),
        section("Runs here", _beside(entries, names, rows)),
        Bullets(_caveats(entries)),
        folded=checked is None,
    )


def _beside(entries: Sequence[Documented], names: Sequence[str], rows: Sequence[StrategyRow]) -> Table | None:
    """The same metrics of the runs on the same data or tasks, repetitions or not."""
    body = [
        [
            _run(row),
            record.encoder_name,
            *(number(value.mean if (value := row.metrics.get(name)) else None) for name in names),
        ]
        for row, record in ((row, row.group.records[0]) for row in rows)
        if any(entry.beside(record) for entry in entries)
    ]
    return table(["run", "encoder", *map(short, names)], body, words=2) if body else None


def against(entry: Documented, rows: Sequence[StrategyRow]) -> tuple[Section, bool]:
    """The row that repeats ``entry`` set against it, and whether it passes in every metric."""
    row, apart = repetition(entry, rows)
    if row is None:
        said = Prose(f"This is no repetition: it differs in {', '.join(apart)}.")
        return Section(entry.label, (said, Bullets(_caveats([entry])))), False
    checked = _checked([(entry, row)])
    assert checked is not None
    passed = all(said == "pass" for _, _, _, said in outcomes(entry, row))
    return Section(entry.label, (checked, Bullets(_caveats([entry])))), passed


def _checked(repeated: Sequence[tuple[Documented, StrategyRow]]) -> Table | None:
    """Published value and difference for each metric."""
    body = [
        [
            f"{entry.label}, {entry.backbone or 'backbone not stated'}",
            _run(row),
            short(name),
            number(target),
            number(None if difference is None else target + difference),
            number(difference, sign=True),
            number(entry.tolerance),
            Cell(said, strong=said.startswith("FAIL")),
        ]
        for entry, row in repeated
        for name, target, difference, said in outcomes(entry, row)
    ]
    header = ["published row", "run", "metric", "published", "ours", "difference", "tolerance", "gate"]
    return table(header, body, words=3) if body else None


def _run(row: StrategyRow) -> str:
    """The row's label; of an encoder as it is, that nothing was trained, in place of the strategy."""
    strategy, *settings = row.group.label.split(" ")
    trained = row.group.records[0].selection.get("steps") != 0
    return " ".join([strategy if trained else "untrained", *settings])


def _caveats(entries: Sequence[Documented]) -> tuple[str, ...]:
    """Source and caveats that all entries share, the tolerances, then what belongs to single entries."""
    first = entries[0]
    shared = [text for text in first.caveats if all(text in entry.caveats for entry in entries)]
    items = [" ".join([f"Source: {first.source}.", *shared])]
    gated = [entry for entry in entries if entry.gated]
    for (tolerance, because), same in group(gated, lambda e: (e.tolerance, e.because)).items():
        items.append(f"Tolerance {tolerance:g} points{_whose(same, entries)}: {because}")
    told = [
        (text, entry)
        for entry in entries
        for text in (*([f"Source: {entry.source}."] if entry.source != first.source else []), *entry.caveats)
        if text not in shared
    ]
    for text, own in group(told, lambda of: of[0]).items():
        items.append(f"{text}{_whose([entry for _, entry in own], entries)}")
    return tuple(items)


def _whose(some: Sequence[Documented], entries: Sequence[Documented]) -> str:
    """Names of ``some`` in brackets; ``all but`` and the other names where those are fewer; nothing for all."""
    rest = [entry for entry in entries if entry not in some]
    if not rest:
        return ""
    named = some if len(some) <= len(rest) else rest
    names = "; ".join(f"{entry.label}, {entry.backbone or 'backbone not stated'}" for entry in named)
    return f" ({'' if named is some else 'all but '}{names})"


def short(name: str) -> str:
    """``recall@10`` as ``R@10``."""
    kind, at, k = name.partition("@")
    return f"{_SHORT.get(kind, kind)}{at}{k}"


def _order(name: str) -> tuple[bool, str, int]:
    """Sort key: recall by its cut-off, then MRR and nDCG; metrics without a cut-off keep their order."""
    kind, _, k = name.partition("@")
    return bool(re.match(r"(mrr|ndcg)@", name)), kind if k else "", int(k or 0)
