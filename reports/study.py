"""A study's result: its question, the trials of each strategy, the final runs as they are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.record.schema import RETRIEVAL, SCHEMAS
from bench.record.serialize import as_override
from reports.blocks import Block, Bullets, Cell, Code, Figure, Prose, Section, Table, amount, number, section, table

_COSTS = {
    "train_s": "train s",
    "mine_s": "mining s",
    "texts_encoded": "texts",
    "index_s": "index s",
    "search_s": "search s",
}


def study(told: Mapping[str, Any], picture: Figure | None = None) -> Section:
    """The section of the study that ``study.json`` holds, with its response figure where it has one."""
    comparison = told["comparison"]
    failed = [f"{arm['strategy']}: no trial came to an end ({arm['why']})" for arm in told["arms"] if arm["why"]]
    notes = (*comparison["notes"], *failed)
    parts: list[Block | None] = [
        Prose(told["asks"]),
        _trials(told),
        picture,
        _finals(told),
        Bullets(notes) if notes else None,
        section("Commands", Code(_commands(told)), folded=True),
    ]
    return Section(told["name"], tuple(part for part in parts if part is not None))


def _trials(told: Mapping[str, Any]) -> Section | None:
    if told["selected_by"] is None:
        return None
    header = ["strategy", "trials", "complete", "pruned", "failed", "best on dev", "with", "what decides"]
    body = []
    for arm in told["arms"]:
        counts = [Cell(str(arm[name]), arm[name]) for name in ("trials", "complete", "pruned", "failed")]
        best = arm["best"] or {"value": None, "settings": {}}
        settings = " ".join(f"{_short(key)}={as_override(value)}" for key, value in best["settings"].items())
        most = sorted(arm["importances"].items(), key=lambda item: -item[1])[:3]
        decides = ", ".join(f"{_short(key)} {share:.0%}" for key, share in most)
        body.append([arm["strategy"], *counts, number(best["value"]), settings, decides])
    reported = "reported on dev as well, which flatters" if told["split"] == "dev" else f"reported on {told['split']}"
    note = Prose(f"Selected by {told['selected_by']}, {reported}, with fresh seeds.")
    return section("Trials", note, table(header, body))


def _finals(told: Mapping[str, Any]) -> Table:
    """The final runs: quality, what the index loses of it, price."""
    comparison = told["comparison"]
    metric, rows = comparison["metric"], comparison["rows"]
    exact = SCHEMAS[told.get("evaluation", RETRIEVAL.name)].exact(metric)
    lost = all(exact in row["metrics"] for row in rows)
    costs = [name for name in _COSTS if any(row["cost"].get(name) for row in rows)]
    header = ["final runs", metric, "95 %", "n", "letters", "before", *(["index loses"] if lost else [])]
    body = []
    for place, row in enumerate(rows):
        value = row["metrics"][metric]
        reach = "" if value["low"] is None else f"{value['low']:.1f} to {value['high']:.1f}"
        body.append(
            [
                row["label"],
                number(value["mean"], strong=place == comparison["best"]),
                Cell(reach, value["low"]),
                Cell(f"n={value['n']}", value["n"]),
                row["letters"],
                number(row["before"].get(metric)),
                *([number(row["metrics"][exact]["mean"] - value["mean"])] if lost else []),
                *(amount(row["cost"].get(name)) for name in costs),
            ]
        )
    return table([*header, *(_COSTS[name] for name in costs)], body)


def _short(key: str) -> str:
    return key.removeprefix("strategy.")


def _commands(told: Mapping[str, Any]) -> tuple[str, ...]:
    finals: Sequence[str] = [
        line
        for arm in told["arms"]
        for what, command in arm["finals"].items()
        for line in (f"# {arm['strategy']}, {what}", command)
    ]
    return ("# the study", told["command"], *finals)
