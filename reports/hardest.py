"""The queries that the first row did worst on, with what it retrieved, and whether others did better."""

from __future__ import annotations

from typing import Any

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
    """A table of those queries, from what the first row's first run has kept of them."""
    row = group.comparison.rows[0]
    run = row.group.records[0]
    if run.evaluation_schema is not RETRIEVAL:
        return None
    try:
        worst = _checked(RunDirectory(group.root, run.run_id))[:SHOWN]
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
        f"What `{row.group.label}` (seed {run.seed}) ranked lowest: the labelled passage, what came first instead, the "
        "rank of the first labelled passage by exact search, and the share of the other rows that have one among the "
        "first ten. A query that nobody answers may be wrongly labelled."
    )
    header = ["query", "labelled", "came first", "rank", "others"]
    return section("Hardest queries", Prose(note), table(header, body, words=3), folded=True)


def _checked(directory: RunDirectory) -> list[dict[str, Any]]:
    """The hardest queries that a run has kept. Raises :class:`UserError` where they are of another shape."""
    found = directory.read_hardest()
    try:
        for query in found:
            whole = isinstance(query["query"], str) and isinstance(query["row"], int) and "rank" in query
            texts = [*query["relevant"], *(passage["text"] for passage in query["retrieved"])]
            if not (whole and query["retrieved"] and all(isinstance(text, str) for text in texts)):
                raise ValueError("a query of another shape")
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{directory.path / 'hardest.json'} is broken ({type(error).__name__}: {error})") from error
    return found


def _found(group: Part, run: Record) -> np.ndarray:
    """[Q] share of the other rows, by one run each that was asked what ``run`` was, with a labelled passage in ten.

    Empty where that is not known.
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
