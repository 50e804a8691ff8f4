"""The table of a report that has the same rows at several budgets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from records import Runs

from bench.record.ledger import read
from reports.blocks import Section, Table
from reports.budgets import across_budgets
from reports.parts import parts

SHORT = {"mnr": 0.5, "mined_hard": 0.7, "in_batch": 0.6}
LONG = {"mnr": 0.9, "mined_hard": 0.7, "in_batch": 0.8}


def runs(levels: dict[str, float], steps: int, texts: float, **changes: Any) -> Runs:
    return Runs(levels, selection={"steps": steps}, cost={"texts_encoded": texts}, **changes)


def table(found: Runs, root: Path) -> Table | None:
    shown = across_budgets(parts(read(found.write(root)).records, root))
    if shown is None:
        return None
    _, of_data = shown.blocks
    assert isinstance(of_data, Section)
    (one,) = of_data.blocks
    assert isinstance(one, Table)
    return one


def text(of: Table) -> list[list[str]]:
    return [[cell.text for cell in row.cells] for row in of.rows]


def test_budgets_are_in_order_of_cost_and_rows_in_order_of_the_dearest(tmp_path: Path) -> None:
    found = table(runs(LONG, 400, 25600.0).add(runs(SHORT, 100, 6400.0)), tmp_path)
    assert found is not None
    assert found.header == ("strategy", "examples=3200", "texts encoded", "examples=12800", "texts encoded")
    names, short, costs, long, _ = zip(*text(found), strict=True)
    assert names == ("mnr", "in_batch", "mined_hard", "Kendall's tau")
    assert costs == ("6,400", "6,400", "6,400", "")
    values = [[float(value.removesuffix(" =")) for value in column[:3]] for column in (short, long)]
    assert values[0] == sorted(values[0])
    assert values[1] == sorted(values[1], reverse=True)
    assert short[3] == "-1.00" and long[3] == ""
    assert [[row.cells[column].strong for row in found.rows[:3]] for column in (1, 3)] == [
        [False, False, True],
        [True, False, False],
    ]


def test_rows_that_may_be_the_best_are_marked_and_one_seed_is_in_brackets(tmp_path: Path) -> None:
    level = {"mnr": 0.7, "mined_hard": 0.7, "in_batch": 0.3}
    found = table(runs(level, 100, 6400.0).add(runs(level, 400, 25600.0, seeds=(1,))), tmp_path)
    assert found is not None
    for name, short, _, long, _ in text(found)[:3]:
        assert short.endswith(" =") == (name != "in_batch")
        assert long.startswith("(") and long.endswith(")")


def test_a_row_without_a_value_at_a_budget_has_an_empty_cell_and_one_of_a_single_budget_no_row(tmp_path: Path) -> None:
    few = {"mined_hard": 0.7, "in_batch": 0.6}
    found = runs(few, 100, 6400.0).add(runs(LONG, 200, 12800.0)).add(runs({**LONG, "queue": 0.5}, 400, 25600.0))
    shown = table(found, tmp_path)
    assert shown is not None
    by_name = {name: cells for name, *cells in text(shown)}
    assert by_name.keys() == {"mnr", "mined_hard", "in_batch", "Kendall's tau"}
    assert by_name["mnr"][:2] == ["", ""] and by_name["mnr"][2] != ""
    assert by_name["Kendall's tau"] == ["", "", "1.00", "", "", ""]  # two rows have no order to compare


def test_another_setting_is_another_row(tmp_path: Path) -> None:
    found = runs(LONG, 100, 6400.0).add(runs(LONG, 400, 25600.0))
    found.add(runs({"mnr": 0.8}, 100, 6400.0, knobs={"scale": 50.0}))
    found.add(runs({"mnr": 0.8}, 400, 25600.0, knobs={"scale": 50.0}))
    shown = table(found, tmp_path)
    assert shown is not None
    assert {name for name, *_ in text(shown)} >= {"mnr scale=20", "mnr scale=50", "in_batch", "mined_hard"}


def test_parts_that_differ_in_more_than_the_budget_are_not_side_by_side(tmp_path: Path) -> None:
    other = {"name": "faq", "fingerprint": "beef", "counts": {}}
    assert table(runs(LONG, 100, 6400.0).add(runs(SHORT, 400, 25600.0, data=other)), tmp_path) is None


def test_one_shared_row_is_no_table(tmp_path: Path) -> None:
    one = {"mnr": 0.5}
    found = runs({**one, "queue": 0.4}, 100, 6400.0).add(runs({**one, "ance": 0.4}, 400, 25600.0))
    assert table(found, tmp_path) is None
