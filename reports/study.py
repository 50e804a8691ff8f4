"""A study's result: its question, the trials of each strategy, and the comparison of the final runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.compare.comparison import LEVEL
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
from reports.comparison import shown

MOST = 4  # rows, or reasons of failed trials, that are named
_COSTS = {
    "steps": "steps",
    "train_s": "train s",
    "mine_s": "mining s",
    "texts_encoded": "texts encoded",
    "index_s": "index build s",
    "search_s": "search s",
}


def study(told: Mapping[str, Any], picture: Figure | None = None) -> Section:
    """The section of the study whose ``study.json`` is ``told``, with its response figure if there is one."""
    comparison = told["comparison"]
    of_arms = (note for arm in told["arms"] for note in (*_edges(arm), *_defaults(arm), *_failed(arm)))
    notes = (*comparison["notes"], *of_arms)
    parts: list[Block | None] = [
        Prose(told["asks"]),
        Prose(answer(told)),
        _trials(told),
        picture,
        _finals(told),
        _legend(told),
        _effects(told),
        Bullets(notes) if notes else None,
        section("Commands", Code(_commands(told)), folded=True),
    ]
    return Section(told["name"], tuple(part for part in parts if part is not None))


def _edges(arm: Mapping[str, Any]) -> list[str]:
    """Which searched settings have their best value at the edge of what was tried."""
    beyond = {"highest": "a higher one", "lowest": "a lower one", "only": "another one"}
    return [
        f"{arm['strategy']}: the best {key}, {as_override(arm['best']['settings'][key])}, is the {edge} value that was "
        f"tried; {beyond[edge]} may be better"
        for key, edge in arm.get("edges", {}).items()
    ]


def _defaults(arm: Mapping[str, Any]) -> list[str]:
    """Why the defaults of a strategy are no row of their own."""
    return [f"{arm['strategy']}: {why}"] if (why := arm.get("defaults")) else []


def _failed(arm: Mapping[str, Any]) -> list[str]:
    """Why trials of a strategy failed, the most frequent reasons first."""
    if arm["why"]:
        return [f"{arm['strategy']}: no trial finished ({arm['why']})"]
    often = sorted(arm.get("reasons", {}).items(), key=lambda item: -item[1])
    return [f"{arm['strategy']}: trials that failed: {count} of {arm['trials']}: {why}" for why, count in often[:MOST]]


def answer(told: Mapping[str, Any]) -> str:
    """Which of the final rows is best, and whether the difference is significant."""
    comparison = told["comparison"]
    found = ", at the settings that the search found" if told["selected_by"] else ""
    return _best(comparison, found) + "".join(
        f" No trial of `{arm['strategy']}` finished, so it is not compared." for arm in told["arms"] if arm["why"]
    )


def _best(comparison: Mapping[str, Any], found: str) -> str:
    metric, (first, *others) = comparison["metric"], comparison["rows"]
    if not others:
        return f"There is one row, `{first['label']}`, so nothing was compared."
    if not first["letters"]:
        return "The final runs were not tested against each other."
    if comparison["best"] == 0:
        return f"Of the final runs, `{first['label']}` is significantly better than every other{found}."
    tied = [f"`{row['label']}`" for row in others if set(row["letters"]) & set(first["letters"])]
    if not tied:
        best = f"`{first['label']}` is significantly better than every other{found}"
        return f"Of the tested rows, {best}. Some were not tested."
    means = [row["metrics"][metric]["mean"] for row in comparison["rows"]]
    highest = f"`{first['label']}` has the highest {metric}"
    if means[0] == means[1]:
        highest = f"`{first['label']}` has the same {metric} as `{others[0]['label']}`, the highest"
    return f"{highest}; it is not significantly different from {listed(tied, MOST)}{found}."


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
    costs = shown(_COSTS, [{name: value or None for name, value in row["cost"].items()} for row in rows])
    from_best = {pair["second"]: pair for pair in comparison.get("pairs", ()) if pair["first"] == 0}
    tested = any(row.get("not_best") is not None for row in rows)
    header = [
        "final runs",
        metric,
        "95 % CI",
        "seeds",
        *(["best minus this (95 % CI)", "p"] if tested else []),
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
                *(_from_best(from_best.get(place), row["not_best"]) if tested else []),
                row["letters"],
                number(row["before"].get(metric)),
                *([number(row["metrics"][exact]["mean"] - value["mean"])] if lost else []),
                *(amount(row["cost"].get(name)) for name in costs),
            ]
        )
    return table([*header, *(_COSTS[name] for name in costs)], body)


def _from_best(pair: Mapping[str, Any] | None, p: float) -> tuple[Cell, Cell]:
    """The best row's difference from a row, and the p that the row is not the best."""
    if pair is None:
        return Cell(), Cell()
    difference = f"{pair['difference']:+z.1f} ({pair['low']:+z.1f} to {pair['high']:+z.1f})"
    return Cell(difference, pair["difference"]), Cell(f"{p:.4f}" + (" *" if p <= LEVEL else ""), p)


def _legend(told: Mapping[str, Any]) -> Prose | None:
    """What the marks of the final runs' table mean."""
    rows = told["comparison"]["rows"]
    if not any(row["letters"] for row in rows):
        return None
    alone = "The best row is bold only if it is significantly better than every other row."
    against = " `p` is corrected for the family of the best row against the rest." if "not_best" in rows[0] else ""
    return Prose(
        f"Rows that share a letter are not significantly different (p ≤ {LEVEL:.2f} is significant; corrected for the "
        f"family of all pairs). {alone}{against} `untrained` is the encoder before training."
    )


def _effects(told: Mapping[str, Any]) -> Section | None:
    """What each setting of a grid does by itself."""
    metric = told["comparison"]["metric"]
    header = ["setting", "from", "to", f"difference in {metric}", "95 % CI", "pairs of runs"]
    body = []
    for effect in told.get("effects", ()):
        over = effect["over"]
        reach = "" if over["low"] is None else f"{over['low']:+z.1f} to {over['high']:+z.1f}"
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
