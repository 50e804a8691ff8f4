"""What a comparison comes to, in three sentences that promise no more than it shows."""

from __future__ import annotations

from dataclasses import replace

import pytest
from records import LEVELS, Runs

from bench.compare.comparison import compare
from bench.compare.statistics import Values
from bench.errors import UserError
from bench.record.record import Record
from reports.verdict import glance, verdict


def test_the_verdict_names_a_winner_only_when_it_beats_all() -> None:
    sentences = verdict(Runs({"mnr": 0.3, "mined_hard": 0.7}).compare(), "mnr")
    assert sentences[0].startswith("`mined_hard` is best") and "the other" in sentences[0]
    assert "a real difference" in sentences[1] and "on `mnr`" in sentences[1]


def test_the_verdict_says_who_cannot_be_told_apart_and_what_is_cheaper() -> None:
    runs = Runs(LEVELS)
    dear = {"cost": {"train_s": 90.0, "mine_s": 10.0, "texts_encoded": 64000.0}}
    runs.records = [replace(r, **(dear if r.strategy == "mined_hard" else {})) for r in runs.records]
    comparison = runs.compare()
    assert comparison.rows[0].group.strategy == "mined_hard", "this test is about the dear one leading"
    which, how_much, price = verdict(comparison, "mnr")
    assert "not told apart from `in_batch`; it is higher for real than the one further" in which
    assert "a real difference" in how_much and "on `mnr`" in how_much
    assert "on `in_batch`" in verdict(comparison)[1], "the next, where no strategy is named"
    assert "64,000 texts (train 90 s, mine 10 s)" in price
    less = comparison.rows[0].metrics["recall@1"].mean - comparison.rows[1].metrics["recall@1"].mean
    assert (
        f"`in_batch`, the cheapest that is not told apart from it and {less:.1f} lower, encodes 6,400, 10.0 times less"
        in price
    )
    assert [comparison.rows[place].group.strategy for place in comparison.leaders] == ["mined_hard", "in_batch"]


def test_the_verdict_of_one_seed_promises_nothing() -> None:
    (sentence,) = verdict(Runs(LEVELS, seeds=(1,)).compare())
    assert sentence.startswith("Nothing is shown to be real")


def test_the_verdict_counts_rows_that_were_not_tested_as_such() -> None:
    runs = Runs(LEVELS).add(Runs({"queue": 0.6}, seeds=(1,)))
    assert "(1 more was not tested)" in verdict(runs.compare())[0]


def test_at_a_glance_stands_what_the_sentences_say() -> None:
    sure, unsure = Runs({"mnr": 0.3, "mined_hard": 0.7}).compare(), Runs(LEVELS).compare()
    table = glance([("one", sure), ("two", unsure)], "mnr")
    for title, of, row in zip(("one", "two"), (sure, unsure), table.rows, strict=True):
        told = dict(zip(table.header, row.cells, strict=True))
        which, how_much, price = verdict(of, "mnr")
        assert told["on"].text == title and told["against"].text == "mnr"
        assert f"`{told['highest'].text}`" in which and told["recall@1"].text in which
        assert told["highest"].strong == ("is best" in which)
        by, interval = told["gain"].text.split(" ", 1)
        assert f"{by} (95 % interval {interval.strip('()')}, p {told['p'].text}" in how_much
        assert told["gain"].strong == ("a real difference" in how_much) == (told["p"].hint == "real")
        assert f"{told['texts'].text} texts" in price
        assert (told["cheapest alike"].text == "none") == ("times less" not in price)


def test_at_a_glance_a_cheaper_one_stands_with_its_price() -> None:
    runs = Runs(LEVELS)
    dear = {"cost": {"texts_encoded": 64000.0}}
    runs.records = [replace(r, **(dear if r.strategy == "mined_hard" else {})) for r in runs.records]
    (row,) = glance([("one", runs.compare())]).rows
    assert [cell.text for cell in row.cells[-3:]] == ["64,000", "in_batch", "6,400"]


@pytest.mark.parametrize(("lost", "told"), [(0.0, ""), (3.0, ", +{:.1f} by exact search")])
def test_a_gain_that_the_index_hides_is_told(lost: float, told: str) -> None:
    runs = Runs({"mnr": 0.3, "mined_hard": 0.7})
    runs.records = [
        replace(r, metrics={**r.metrics, "exact/recall@1": r.metrics["recall@1"] + lost * (r.strategy == "mined_hard")})
        for r in runs.records
    ]
    compared = runs.compare()
    pair = compared.pair(0, 1)
    assert pair is not None
    assert ("by exact search" in verdict(compared)[1]) == bool(told)
    assert told.format(pair.difference + lost) in verdict(compared)[1]
    (row,) = glance([("one", compared)]).rows
    assert row.cells[6].text == f"{pair.difference + lost:+.1f}"


def test_the_verdict_is_on_what_was_tested() -> None:
    runs = Runs(LEVELS).add(Runs({"queue": 0.95}, seeds=(1,)))
    assert "has the highest recall@1 of the tested, " in verdict(runs.compare())[0]


def test_the_verdict_without_values_of_single_queries_says_what_is_missing() -> None:
    runs = Runs(LEVELS)

    def gone(record: Record, metric: str) -> tuple[Values, Values]:
        raise UserError("its ranks are gone")

    (sentence,) = verdict(compare(runs.records, gone))
    assert "the values of single queries cannot be used" in sentence and "two seeds" not in sentence


def test_the_verdict_does_not_call_dear_what_it_does_not_know() -> None:
    runs = Runs(LEVELS)
    runs.records = [replace(r, cost={} if r.strategy == "in_batch" else r.cost) for r in runs.records]
    which, _, price = verdict(runs.compare())
    assert "not told apart from `in_batch`" in which
    assert price.endswith("of those not told apart from it none is known to encode a tenth less.")
