"""The queries that the first row did worst on, with what it retrieved, and whether others did better."""

from __future__ import annotations

import numpy as np

from bench.compare.ranks import of_runs
from bench.errors import UserError
from bench.record.record import Record
from bench.record.store import RunDirectory
from reports.blocks import Cell, Prose, Section, section, table
from reports.groups import Group

SHOWN = 10
LONGEST = 160  # characters; the whole text is there when pointed at
FOUND = "exact/hit@10"


def hardest(group: Group) -> Section | None:
    """A table of those queries, from what the first row's first run has kept of them."""
    row = group.comparison.rows[0]
    run = row.cell.records[0]
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
            Cell("beyond" if query["rank"] is None else str(query["rank"]), float(query["rank"] or 10**6)),
            Cell(f"{(share := others[query['row']]):.0%}", share) if query["row"] < len(others) else Cell(),
        ]
        for query in worst
    ]
    note = (
        f"What `{row.cell.label}` (seed {run.seed}) ranked lowest: the labelled passage, what came first instead, the "
        "rank of the first labelled passage by exact search, and the share of the other rows that have one among the "
        "first ten. A query that nobody answers may be wrongly labelled."
    )
    header = ["query", "labelled", "came first", "rank", "others"]
    return section("Hardest queries", Prose(note), table(header, body, words=3), folded=True)


def _found(group: Group, run: Record) -> np.ndarray:
    """[Q] share of the other rows, by one run each that was asked what ``run`` was, with a labelled passage in ten.

    Empty where that is not known.
    """
    read = of_runs(group.root)
    values = []
    try:
        asked, _ = read(run, FOUND)
    except UserError:
        return np.empty(0)
    for row in group.comparison.rows[1:]:
        try:
            queries, of_run = read(row.cell.records[0], FOUND)
        except UserError:
            continue
        if np.array_equal(asked, queries):
            values.append(of_run / 100)
    return np.mean(values, axis=0) if values else np.empty(0)


def _text(text: str) -> Cell:
    line = " ".join(text.split())
    return Cell(line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…", hint=line if len(line) > LONGEST else "")
