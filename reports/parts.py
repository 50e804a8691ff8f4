"""The records of a report in groups that may each be compared, and the histories that figures need."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import chain, count
from pathlib import Path
from typing import Any

from bench.compare.comparability import ASPECTS, comparable, distinguish
from bench.compare.comparison import Comparison, compare
from bench.compare.per_query import of_runs
from bench.compare.seed_groups import group
from bench.errors import UserError
from bench.record.files import FileError, files_at
from bench.record.record import Record
from reports import comparison as tables
from reports.blocks import listed

MOST = 3  # studies in a title


@dataclass(frozen=True)
class Part:
    """One comparison of the report.

    ``what`` distinguishes it from others of the same data, split and encoder; ``name`` is used in files and links;
    ``root`` is the directory of its runs.
    """

    what: str
    name: str
    comparison: Comparison
    root: Path

    @property
    def title(self) -> str:
        return " ".join([tables.title(self.comparison), *self._told])

    @property
    def short(self) -> str:
        """The title without split and encoder."""
        return " ".join([self.records[0].data["name"], *self._told])

    @property
    def _told(self) -> list[str]:
        return [f"({self.what})"] if self.what else []

    @cached_property
    def records(self) -> list[Record]:
        return [record for row in self.comparison.rows for record in row.group.records]

    @cached_property
    def _histories(self) -> dict[str, Sequence[Mapping[str, Any]] | FileError]:
        """The events of every run by its id, or why they cannot be read."""
        found: dict[str, Sequence[Mapping[str, Any]] | FileError] = {}
        for record in self.records:
            try:
                found[record.run_id] = files_at(self.root).history(record.run_id)
            except FileError as error:
                found[record.run_id] = error
        return found

    def history(self, record: Record) -> Sequence[Mapping[str, Any]]:
        """The events of a run; empty when its history is broken (see :meth:`unreadable`)."""
        events = self._histories[record.run_id]
        return () if isinstance(events, FileError) else events

    def unreadable(self) -> list[str]:
        """Messages for histories that exist and cannot be read; the records do not depend on them."""
        return [f"`{e.path}`: {e.why}" for e in self._histories.values() if isinstance(e, FileError)]


def parts(
    records: Iterable[Record],
    root: Path,
    metric: str | None = None,
    studies: Mapping[str, Collection[str]] | None = None,
) -> list[Part]:
    """One part for each group of comparable records; parts with the most tested rows come first.

    ``studies`` are the commands of the final runs of each study. Those runs make parts of their own, titled with the
    study, so that tuned rows are not compared with published settings. A study whose runs differ in data, encoder,
    evaluation or budget is one part, since that is its question. Where not every run of a group has ``metric``, the
    group is compared by the first metric that all have, and a note says so. Raises :class:`UserError` when no run has
    ``metric``. Without ``metric`` each group is compared by the headline of its kind of evaluation.
    """
    records = list(records)
    if not records:
        return []
    if not any(record.metrics.get(metric or record.evaluation_schema.headline) is not None for record in records):
        wanted, known = metric or records[0].evaluation_schema.headline, {name for r in records for name in r.metrics}
        raise UserError(f"no run has the metric {wanted!r}; there is {', '.join(sorted(known))}")
    plain, wide = _groups(records, studies or {})
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # most of it is NumPy and reading files
        found = list(pool.map(partial(_compare, root=root, metric=metric), [same for _, same in [*plain, *wide]]))
    made = [Part(told, "", one, root) for (told, _), one in zip(wide, found[len(plain) :], strict=True)]
    for alike in group(zip(plain, found, strict=False), lambda of: tables.title(of[1])).values():
        apart = distinguish([[row.group.records[0] for row in compared.rows] for _, compared in alike])
        for ((told, _), compared), what in zip(alike, apart, strict=True):
            made.append(Part(" ".join(filter(None, [what, told])), "", compared, root))
    made.sort(key=lambda g: (-sum(bool(row.letters) for row in g.comparison.rows), -len(g.records), g.title))
    named: dict[str, Part] = {}
    for of in made:
        slug = _slug(of.records[0].data["name"])
        name = next(name for name in chain([slug], (f"{slug}-{n}" for n in count(2))) if name not in named)
        named[name] = replace(of, name=name)
    return list(named.values())


Told = tuple[str, list[Record]]
"""The studies that made these runs, in words (empty where they are of none), and the runs."""


def _groups(records: Sequence[Record], studies: Mapping[str, Collection[str]]) -> tuple[list[Told], list[Told]]:
    """The runs of each part: comparable ones, and those of each study that are not comparable on purpose."""
    wide: list[Told] = []
    whole: set[str] = set()
    for name, commands in studies.items():
        for same in (same for same in _of_one_state(records, commands) if len(comparable(same)) > 1):
            wide.append((name, same))
            whole |= {record.run_id for record in same}
    asked = {command: _plain(name) for name, commands in studies.items() for command in commands}
    left = comparable(record for record in records if record.run_id not in whole)
    alike = [same for of in left for same in group(of, lambda r: r.command in asked).values()]
    often = Counter(_plain(name) for name, _ in wide)
    return (
        _valid([(_told(same, asked), same) for same in alike]),
        _valid([(f"study {name if often[_plain(name)] > 1 else _plain(name)}", same) for name, same in wide]),
    )


def _valid(found: Iterable[Told]) -> list[Told]:
    """Those with a run that is not invalid."""
    return [(told, same) for told, same in found if any(record.invalid is None for record in same)]


def _of_one_state(records: Iterable[Record], commands: Collection[str]) -> list[list[Record]]:
    """The runs of a study; where one of its commands was run on the data in several states, those of each state."""
    made = [record for record in records if record.command in commands]
    states = group(made, lambda record: str(record.data["fingerprint"]))
    per_command = {(record.command, str(record.data["fingerprint"])) for record in made}
    return list(states.values()) if len(per_command) > len({command for command, _ in per_command}) else [made]


def _plain(study: str) -> str:
    """The name of a study's file: its directory's without data and digits."""
    return study.rsplit("-", 2)[0]


def _compare(records: Sequence[Record], root: Path, metric: str | None) -> Comparison:
    metric = metric or records[0].evaluation_schema.headline
    chosen = _metric(records, metric)
    having = [record for record in records if record.metrics.get(chosen) is not None]
    compared = compare(having, of_runs(root), chosen, tuple(ASPECTS))
    notes = [f"compared by {chosen}, since not all of these runs have {metric}"] if chosen != metric else []
    if lost := [record.run_id for record in records if record not in having]:
        notes.append(f"left out, since they have no {chosen}: {listed(lost, MOST)}")
    return replace(compared, notes=(*notes, *compared.notes))


def _told(records: Sequence[Record], asked: Mapping[str, str]) -> str:
    """The studies that made these runs, in words; empty when one is of no study."""
    names = {asked.get(record.command) for record in records}
    found = sorted(name for name in names if name is not None)
    return "" if None in names else f"stud{'y' if len(found) == 1 else 'ies'} {listed(found, MOST)}"


def _metric(records: Sequence[Record], wanted: str) -> str:
    """``wanted`` where all have it, else the first that all have; of runs that share none, the one that most have."""
    has = Counter(name for record in records for name, value in record.metrics.items() if value is not None)
    shared = [name for name, count in has.items() if count == len(records)]
    if wanted in shared or (not shared and wanted in has):
        return wanted
    return shared[0] if shared else has.most_common(1)[0][0]


def _slug(text: str) -> str:
    return re.sub(r"\W+", "-", text.lower()).strip("-") or "data"
