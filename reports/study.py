"""A study's result: its question, the trials of each strategy, and the comparison of the final runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.record.schema import RETRIEVAL, SCHEMAS
from bench.record.serialize import as_override
from reports.blocks import (
    Block,
    Bullets,
    Cell,
    Code,
    Figure,
    Prose,
    Section,
    Table,
    amount,
    listed,
    number,
    section,
    table,
)

MOST = 4  # rows, or reasons of failed trials, that are named
_COSTS = {
    "train_s": "train s",
    "mine_s": "mining s",
    "texts_encoded": "texts encoded",
    "index_s": "index build s",
    "search_s": "search s",
}


def study(told: Mapping[str, Any], picture: Figure | None = None) -> Section:
    """The section of the study whose ``study.json`` is ``told``, with its response figure if there is one."""
    comparison = told["comparison"]
    notes = (*comparison["notes"], *(note for arm in told["arms"] for note in (*_defaults(arm), *_failed(arm))))
    parts: list[Block | None] = [
        Prose(told["asks"]),
        Prose(answer(comparison)),
        _trials(told),
        picture,
        _finals(told),
        _effects(told),
        Bullets(notes) if notes else None,
        section("Commands", Code(_commands(told)), folded=True),
    ]
    return Section(told["name"], tuple(part for part in parts if part is not None))


def _defaults(arm: Mapping[str, Any]) -> list[str]:
    """Why the defaults of a strategy are no row of their own."""
    return [f"{arm['strategy']}: {why}"] if (why := arm.get("defaults")) else []


def _failed(arm: Mapping[str, Any]) -> list[str]:
    """Why trials of a strategy failed, the most frequent reasons first."""
    if arm["why"]:
        return [f"{arm['strategy']}: no trial finished ({arm['why']})"]
    often = sorted(arm.get("reasons", {}).items(), key=lambda item: -item[1])
    return [f"{arm['strategy']}: trials that failed: {count} of {arm['trials']}: {why}" for why, count in often[:MOST]]


def answer(comparison: Mapping[str, Any]) -> str:
    """Which of the final rows is best, and whether the difference is significant."""
    metric, (first, *others) = comparison["metric"], comparison["rows"]
    if not others or not first["letters"]:
        return "The final runs were not tested against each other."
    if comparison["best"] == 0:
        return f"Of the final runs, `{first['label']}` is significantly better than every other."
    tied = [f"`{row['label']}`" for row in others if set(row["letters"]) & set(first["letters"])]
    if not tied:
        return f"Of the tested rows, `{first['label']}` is significantly better than every other. Some were not tested."
    return f"`{first['label']}` has the highest {metric}; it is not significantly different from {listed(tied, MOST)}."


def _trials(told: Mapping[str, Any]) -> Section | None:
    if told["selected_by"] is None:
        return None
    header = [
        "strategy",
        "trials",
        "complete",
        "pruned",
        "failed",
        "best on dev",
        "settings of the best",
        "most important settings",
    ]
    body = []
    for arm in told["arms"]:
        counts = [Cell(str(arm[name]), arm[name]) for name in ("trials", "complete", "pruned", "failed")]
        best = arm["best"] or {"value": None, "settings": {}}
        settings = " ".join(f"{_short(key)}={as_override(value)}" for key, value in best["settings"].items())
        most = sorted(arm["importances"].items(), key=lambda item: -item[1])[:3]
        important = ", ".join(f"{_short(key)} {share:.0%}" for key, share in most)
        body.append([arm["strategy"], *counts, number(best["value"]), settings, important])
    bias = ", which favours the selected settings" if told["split"] == "dev" else ""
    note = Prose(f"Selected by {told['selected_by']}. Reported on {told['split']}{bias}, with seeds that no trial had.")
    return section("Trials", note, table(header, body))


def _finals(told: Mapping[str, Any]) -> Table:
    """The final runs: quality, how much of it the index loses, and cost."""
    comparison = told["comparison"]
    metric, rows = comparison["metric"], comparison["rows"]
    exact = SCHEMAS[told.get("evaluation", RETRIEVAL.name)].exact(metric)
    lost = all(exact in row["metrics"] for row in rows)
    costs = [name for name in _COSTS if any(row["cost"].get(name) for row in rows)]
    header = [
        "final runs",
        metric,
        "95 % CI",
        "seeds",
        "letters",
        "untrained",
        *(["lost by index"] if lost else []),
    ]
    body = []
    for place, row in enumerate(rows):
        value = row["metrics"][metric]
        reach = "" if value["low"] is None else f"{value['low']:.1f} to {value['high']:.1f}"
        body.append(
            [
                row["label"],
                number(value["mean"], strong=place == comparison["best"]),
                Cell(reach, value["low"]),
                Cell(str(value["n"]), value["n"]),
                row["letters"],
                number(row["before"].get(metric)),
                *([number(row["metrics"][exact]["mean"] - value["mean"])] if lost else []),
                *(amount(row["cost"].get(name)) for name in costs),
            ]
        )
    return table([*header, *(_COSTS[name] for name in costs)], body)


def _effects(told: Mapping[str, Any]) -> Section | None:
    """What each setting of a grid does by itself."""
    metric = told["comparison"]["metric"]
    header = ["setting", "from", "to", f"difference in {metric}", "95 % CI", "pairs of runs"]
    body = []
    for effect in told.get("effects", ()):
        over = effect["over"]
        reach = "" if over["low"] is None else f"{over['low']:+.1f} to {over['high']:+.1f}"
        values = as_override(effect["instead_of"]), as_override(effect["value"])
        count = Cell(str(over["n"]), over["n"])
        body.append([_short(effect["key"]), *values, number(over["mean"], sign=True), Cell(reach, over["low"]), count])
    note = Prose(
        "Each difference is the mean over pairs of runs that are equal in all other settings and in the seed. The CI "
        "is over these pairs and over queries. It is not corrected for the number of settings."
    )
    return section("What each setting does by itself", note, table(header, body)) if body else None


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
