"""The picture of all data sets: a line for each strategy, whichever settings it has where."""

from __future__ import annotations

from records import LEVELS, Runs

from bench.compare.comparison import Comparison, compare
from bench.compare.interval import Values
from bench.errors import UserError
from bench.record.record import Record
from reports.figures.overview import overview
from reports.figures.style import Drawing


def lines(drawing: Drawing | None) -> list[str]:
    assert drawing is not None
    return [label.get_text() for label in drawing.figure.axes[0].get_yticklabels()]


def test_a_strategy_is_one_line_on_all_data_sets_whatever_its_settings() -> None:
    plain, tuned = Runs(LEVELS).compare(), Runs(LEVELS, knobs={"scale": 7.0}).compare()
    assert lines(overview([("one", plain), ("two", tuned)])) == ["mined_hard", "in_batch", "mnr"]


def test_settings_of_one_strategy_are_no_panel() -> None:
    runs = Runs(LEVELS).add(Runs({"mnr": 0.4}, knobs={"scale": 7.0}))
    assert overview([("two of mnr", runs.compare())]) is None
    drawing = overview([("two of mnr", runs.compare()), ("one", Runs(LEVELS).compare())])
    assert drawing is not None and len(drawing.figure.axes) == 1


def test_a_row_that_could_not_be_tested_is_not_drawn() -> None:
    runs = Runs({**LEVELS, "queue": 0.6})

    def per_query(record: Record, metric: str) -> tuple[Values, Values]:
        if record.strategy == "queue":
            raise UserError("its ranks are gone")
        return runs.per_query(record, metric)

    found: Comparison = compare(runs.records, per_query, resamples=100)
    drawing = overview([("one", found)])
    assert "queue" not in lines(drawing) and len(lines(drawing)) == len(LEVELS)
    assert drawing is not None and not [text for text in drawing.hints.values() if "queue" in text]
