"""A study's result: its question, the trials of each strategy, the final runs as they are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reports.blocks import Block, Bullets, Cell, Code, Figure, Prose, Row, Section, Table, section, table


def study(told: Mapping[str, Any], picture: Figure | None = None) -> Section:
    """The section of the study that ``study.json`` holds, with its response figure where it has one."""
    comparison = told["comparison"]
    parts: list[Block | None] = [
        Prose(told["asks"]),
        _trials(told),
        picture,
        _finals(comparison),
        Bullets(tuple(comparison["notes"])) if comparison["notes"] else None,
        section("Commands", Code(_commands(told)), folded=True),
    ]
    return Section(told["name"], tuple(part for part in parts if part is not None))


def _trials(told: Mapping[str, Any]) -> Section | None:
    if told["selected_by"] is None:
        return None
    header = ["strategy", "trials", "complete", "pruned", "failed", "what decides"]
    body = []
    for arm in told["arms"]:
        most = sorted(arm["importances"].items(), key=lambda item: -item[1])[:3]
        decides = ", ".join(f"{key.removeprefix('strategy.')} {share:.0%}" for key, share in most)
        counts = [Cell(str(arm[name]), arm[name]) for name in ("trials", "complete", "pruned", "failed")]
        body.append([arm["strategy"], *counts, decides])
    note = Prose(f"Selected by {told['selected_by']}, reported on fresh seeds.")
    return section("Trials", note, table(header, body))


def _finals(comparison: Mapping[str, Any]) -> Table:
    metric = comparison["metric"]
    rows = []
    for place, row in enumerate(comparison["rows"]):
        value = row["metrics"][metric]
        reach = "" if value["low"] is None else f"{value['low']:.1f} to {value['high']:.1f}"
        cells = (
            Cell(row["label"]),
            Cell(f"{value['mean']:.2f}", value["mean"], strong=place == comparison["best"]),
            Cell(reach, value["low"]),
            Cell(f"n={value['n']}", value["n"]),
            Cell(row["letters"]),
        )
        rows.append(Row(cells))
    return Table(("final runs", metric, "95 %", "n", "told apart"), tuple(rows))


def _commands(told: Mapping[str, Any]) -> tuple[str, ...]:
    finals: Sequence[str] = [
        line
        for arm in told["arms"]
        for what, command in arm["finals"].items()
        for line in (f"# {arm['strategy']}, {what}", command)
    ]
    return ("# the study", told["command"], *finals)
