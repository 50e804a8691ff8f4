"""The queries that the first row ranked worst, what it retrieved for them, and whether other rows did better."""

from __future__ import annotations

import numpy as np

from bench.compare.per_query import of_runs
from bench.errors import UserError
from bench.record.record import Record
from bench.record.schema import RETRIEVAL
from bench.record.store import RunDirectory
from reports.blocks import Cell, Prose, Section, section, table
from reports.parts import Part

SHOWN = 10
LONGEST = 160  # characters; the whole text is there when pointed at


def hardest_items(group: Part) -> Section | None:
    """A table of those queries, from the file that the first row's first run kept."""
    row = group.comparison.rows[0]
    run = row.group.records[0]
    if run.evaluation_schema is not RETRIEVAL:
        return None
    try:
        worst = RunDirectory(group.root, run.run_id).read_hardest()[:SHOWN]
    except UserError as error:
        return section("Hardest queries", Prose(str(error)), folded=True)
    if not worst:
        return None
    others = _found(group, run)
    body = [
        [
            _text(query["query"]),
            _text(" / ".join(query["relevant"])),
            _text(query["retrieved"][0]["text"]),
            Cell("not found" if query["rank"] is None else str(query["rank"]), float(query["rank"] or 10**6)),
            Cell(f"{(share := others[query['row']]):.0%}", share) if query["row"] < len(others) else Cell(),
        ]
        for query in worst
    ]
    note = (
        f"The queries whose labelled passage `{row.group.label}` (seed {run.seed}) ranked lowest. `rank` is the rank "
        "of the first labelled passage by exact search. `solved by others` is the share of the other rows that "
        "retrieve a labelled passage among the first ten. A query that no row solves may be labelled wrongly."
    )
    header = ["query", "labelled passage", "retrieved first", "rank", "solved by others"]
    return section("Hardest queries", Prose(note), table(header, body, words=3), folded=True)


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
