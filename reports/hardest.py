"""The items that the first row's first run got most wrong: queries and what it retrieved, or pairs and their scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from bench.compare.per_query import of_runs
from bench.errors import UserError
from bench.record.record import Record
from bench.record.schema import RETRIEVAL, SIMILARITY
from bench.record.store import RunDirectory
from reports.blocks import Cell, Prose, Section, Table, number, section, table
from reports.parts import Part

SHOWN = 10
LONGEST = 160  # characters; the whole text is there when pointed at

Items = Sequence[Mapping[str, Any]]


def hardest_items(group: Part) -> Section | None:
    """A table of those items, from the file that the first row's first run kept."""
    run = group.comparison.rows[0].group.records[0]
    title = f"Hardest {run.evaluation_schema.items}"
    try:
        worst = RunDirectory(group.root, run.run_id).read_hardest(run.evaluation)[:SHOWN]
    except UserError as error:
        return section(title, Prose(str(error)), folded=True)
    if not worst:
        return None
    note, found = _TABLES[run.evaluation](group, run, worst)
    return section(title, Prose(note), found, folded=True)


def _queries(group: Part, run: Record, worst: Items) -> tuple[str, Table]:
    """Queries whose labelled passage ranks lowest, and whether other rows did better."""
    others = _found(group, run)
    body = [
        [
            _text(query["query"]),
            _text(" / ".join(query["relevant"])),
            _text(query["retrieved"][0]["text"]),
            Cell("not found" if query["rank"] is None else str(query["rank"]), float(query["rank"] or 10**6)),
            Cell(f"{(share := float(others[query['row']])):.0%}", share) if query["row"] < len(others) else Cell(),
        ]
        for query in worst
    ]
    note = (
        f"The queries whose labelled passage `{_label(group)}` (seed {run.seed}) ranked lowest. `rank` is the rank "
        "of the first labelled passage by exact search. `solved by others` is the share of the other rows that "
        "retrieve a labelled passage among the first ten. A query that no row solves may be labelled wrongly."
    )
    return note, table(["query", "labelled passage", "retrieved first", "rank", "solved by others"], body, words=3)


def _pairs(group: Part, run: Record, worst: Items) -> tuple[str, Table]:
    """Pairs whose cosine ranks far from their score."""
    body = [
        [_text(p["left"]), _text(p["right"]), Cell(p["task"]), Cell(f"{p['score']:g}", p["score"]), number(p["cosine"])]
        for p in worst
    ]
    note = (
        f"The pairs whose rank by cosine of `{_label(group)}` (seed {run.seed}) is furthest from their rank by score, "
        "within their task. A pair that no encoder puts near its score may be scored wrongly."
    )
    return note, table(["left", "right", "task", "score", "cosine"], body, words=3)


_TABLES: Mapping[str, Callable[[Part, Record, Items], tuple[str, Table]]] = {
    RETRIEVAL.name: _queries,
    SIMILARITY.name: _pairs,
}


def _label(group: Part) -> str:
    return group.comparison.rows[0].group.label


def _found(group: Part, run: Record) -> np.ndarray:
    """[Q] share of the other rows that retrieve a labelled passage among the first ten, by one run each.

    Rows whose queries are not those of ``run`` are left out. Empty where the values of ``run`` cannot be read.
    """
    read, solved = of_runs(group.root), run.evaluation_schema.solved or ""
    values = []
    try:
        asked, _ = read(run, solved)
    except UserError:
        return np.empty(0)
    for row in group.comparison.rows[1:]:
        try:
            queries, of_run = read(row.group.records[0], solved)
        except UserError:
            continue
        if np.array_equal(asked, queries):
            values.append(of_run / 100)
    return np.mean(values, axis=0) if values else np.empty(0)


def _text(text: str) -> Cell:
    line = " ".join(text.split())
    return Cell(line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…", hint=line if len(line) > LONGEST else "")
