"""The course of training on dev: means over seeds, and whether the order of rows holds until the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from records import LEVELS, Runs

from bench.record.record import Record
from reports.blocks import Section, Table
from reports.curves import course

NAME = "dev/exact/recall@1"
STEPS = {"mined_hard": (100, 200, 300), "mnr": (100, 200, 300, 400), "in_batch": (100, 200, 300, 400)}
VALUES = {"mined_hard": (50.0, 55.0, 60.0), "mnr": (40.0, 55.0, 62.0, 65.0), "in_batch": (30.0, 50.0, 65.0, 70.0)}


def history(record: Record) -> list[Mapping[str, Any]]:
    """Each seed lies one point above the one before; of seed 3 one evaluation more is known."""
    steps, values = STEPS[record.strategy], VALUES[record.strategy]
    found = [{"step": step, NAME: value + record.seed - 2} for step, value in zip(steps, values, strict=True)]
    return [{"step": 10, "loss": 1.0}, *found, *([{"step": 450, NAME: 99.0}] if record.seed == 3 else [])]


def shown(found: Section | None) -> list[dict[str, str]]:
    assert found is not None
    (table,) = (block for block in found.blocks if isinstance(block, Table))
    return [dict(zip(table.header, (cell.text for cell in row.cells), strict=True)) for row in table.rows]


def test_the_order_of_rows_is_compared_with_that_of_the_end() -> None:
    rows = shown(course(Runs(LEVELS).compare(), history))
    assert [row["step"] for row in rows] == ["100", "200", "300", "end"], "steps that every seed has, each end once"
    first, second, third, end = rows
    assert (first["mined_hard"], first["mnr"], first["in_batch"], first["highest"]) == (
        "50.00",
        "40.00",
        "30.00",
        "mined_hard",
    )
    assert second["in_batch"] == "50.00" and third["highest"] == "in_batch"
    assert (end["mined_hard"], end["mnr"], end["in_batch"]) == ("72.67", "76.00", "79.33"), "the last of each seed"
    tau = [row["Kendall's tau with the end"] for row in rows]
    assert (tau[0], tau[2], tau[3]) == ("-1.00", "1.00", "1.00")


def test_where_a_row_has_ended_nothing_is_called_highest() -> None:
    longer = {**VALUES, "mnr": (40.0, 55.0, 62.0, 65.0, 66.0), "in_batch": (30.0, 50.0, 65.0, 70.0, 71.0)}

    def history(record: Record) -> list[Mapping[str, Any]]:
        return [{"step": 100 * n, NAME: value} for n, value in enumerate(longer[record.strategy], 1)]

    row = next(row for row in shown(course(Runs(LEVELS).compare(), history)) if row["step"] == "400")
    assert (row["mined_hard"], row["mnr"], row["in_batch"], row["highest"]) == ("", "65.00", "70.00", "")
    assert row["Kendall's tau with the end"] == ""


def test_rows_that_are_tied_are_all_highest() -> None:
    rows = shown(course(Runs(LEVELS).compare(), lambda record: [{"step": n, NAME: 50.0 + n} for n in (1, 2)]))
    assert {row["highest"] for row in rows} == {"mined_hard = in_batch = mnr"}


def test_rows_that_were_measured_at_other_steps_are_shown_beside_each_other() -> None:
    def history(record: Record) -> list[Mapping[str, Any]]:
        every = {"mnr": 2, "in_batch": 5}[record.strategy]
        return [{"step": step, NAME: float(step)} for step in range(every, 9, every)] + [{"step": 9, NAME: 9.0}]

    rows = shown(course(Runs({name: LEVELS[name] for name in ("mnr", "in_batch")}).compare(), history))
    assert [(row["step"], row["mnr"], row["in_batch"]) for row in rows] == [
        ("2", "2.00", ""),
        ("4", "4.00", ""),
        ("5", "", "5.00"),
        ("6", "6.00", ""),
        ("8", "8.00", ""),
        ("9", "9.00", "9.00"),
        ("end", "9.00", "9.00"),
    ]


def test_two_rows_have_no_rank_correlation_and_one_row_no_table() -> None:
    two = {name: LEVELS[name] for name in ("mnr", "in_batch")}
    assert set(shown(course(Runs(two).compare(), history))[0]) == {"step", "in_batch", "mnr", "highest"}
    assert course(Runs({"mnr": 0.5}).compare(), history) is None
    assert course(Runs(LEVELS).compare(), lambda record: [{"step": 10, "loss": 1.0}]) is None


@pytest.mark.parametrize("count", [3, 10, 11, 200])
def test_many_evaluations_are_thinned_and_the_first_and_the_last_stay(count: int) -> None:
    def long(record: Record) -> list[Mapping[str, Any]]:
        return [{"step": 10 * n, NAME: float(n)} for n in range(1, count + 1)]

    rows = shown(course(Runs(LEVELS).compare(), long))
    assert len(rows) <= 9 and rows[0]["step"] == "10"
    assert rows[-2]["step"] == f"{10 * count:,}" and rows[-1]["step"] == "end"
