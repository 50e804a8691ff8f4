"""What a comparison comes to, in three sentences that promise no more than it shows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from records import LEVELS, Runs
from tiny import bench

from bench.commands.run import show
from bench.compare.comparison import compare
from bench.compare.interval import Values
from bench.errors import UserError
from bench.record.record import Record
from reports.verdict import glance, recommended, verdict


def test_the_first_sentence_is_an_instruction_with_its_difference_and_interval() -> None:
    comparison = Runs({"mnr": 0.3, "mined_hard": 0.7}).compare()
    pair = comparison.pair(0, 1)
    assert pair is not None
    instruction, evidence, _ = verdict(comparison, "mnr")
    assert instruction == (
        f"Use `mined_hard`: {pair.difference:+.1f} points of recall@1 over `mnr` "
        f"(95 % CI {pair.low:+.1f} to {pair.high:+.1f}), at as many texts encoded."
    )
    assert "`mined_hard` is significantly better than the other row." in evidence
    assert "The difference from `mnr` is significant (p " in evidence


def test_a_cheaper_row_that_is_tied_stands_in_the_instruction() -> None:
    runs = Runs(LEVELS)
    dear = {"cost": {"train_s": 90.0, "mine_s": 10.0, "texts_encoded": 64000.0}}
    runs.records = [replace(r, **(dear if r.strategy == "mined_hard" else {})) for r in runs.records]
    comparison = runs.compare()
    assert comparison.rows[0].group.strategy == "mined_hard", "this test is about the dear one leading"
    instruction, evidence, cost = verdict(comparison, "mnr")
    assert instruction.startswith("Use `mined_hard`: +") and "over `mnr` (95 % CI +" in instruction
    assert instruction.endswith(
        ", at 10.0 times the texts encoded; `in_batch` is statistically tied, at 10 % of the texts encoded."
    )
    assert (
        "not significantly different from `in_batch` (the best against the rest); the remaining row is significantly "
        "worse than the best." in evidence
    )
    assert "64,000 texts encoded (train 90 s, mine 10 s)" in cost
    lower = comparison.rows[0].metrics["recall@1"].mean - comparison.rows[1].metrics["recall@1"].mean
    assert (
        f"The cheapest statistically tied row is `in_batch`: 6,400 texts encoded, recall@1 {lower:.1f} points lower."
        in cost
    )
    assert [comparison.rows[place].group.strategy for place in comparison.leaders] == ["mined_hard", "in_batch"]


def test_a_tie_of_two_rows_names_no_family() -> None:
    _, evidence, _ = verdict(Runs({"mnr": 0.5, "in_batch": 0.5}).compare())
    assert evidence.endswith("is not significantly different from `mnr`.")


def test_where_nothing_is_significant_the_cheapest_tied_row_is_named_first() -> None:
    runs = Runs(LEVELS)
    runs.records = [
        replace(r, cost={"texts_encoded": 64000.0 if r.strategy == "mined_hard" else 6400.0}) for r in runs.records
    ]
    comparison = runs.compare()
    pair = comparison.pair(0, 1)
    assert pair is not None
    expected = (
        "No clear winner: start with `in_batch`, the cheapest statistically tied row. `mined_hard` has the highest "
        f"recall@1, {pair.difference:+.1f} points over `in_batch` (95 % CI {pair.low:+.1f} to {pair.high:+.1f}, not "
        "significant), at 10.0 times the texts encoded."
    )
    assert verdict(comparison, "in_batch")[0] == expected
    assert verdict(comparison)[0] == expected, "the next row, where no baseline is named"
    commands = recommended(comparison, "in_batch")
    assert commands is not None and commands.lines[0] == "# in_batch"
    significant = recommended(comparison, "mnr")
    assert significant is not None and significant.lines[0] == "# mined_hard"


def test_a_difference_that_is_not_significant_says_so_where_the_cost_is_equal() -> None:
    instruction, evidence, cost = verdict(Runs(LEVELS).compare(), "in_batch")
    assert (
        instruction.startswith("No clear winner: `mined_hard` has the highest recall@1, +")
        and ", not significant), at as many texts encoded." in instruction
    )
    assert "The difference from `in_batch` is not significant (p " in evidence
    assert cost.endswith("No statistically tied row is known to cost at least 10 % less.")


def test_a_baseline_that_is_absent_is_said_and_one_that_is_best_is_not() -> None:
    comparison = Runs(LEVELS).compare()
    first, second = (row.group.strategy for row in comparison.rows[:2])
    absent = verdict(comparison, "queue")
    assert f"over `{second}`" in absent[0]
    assert "The baseline `queue` was not tested here, so the difference is from the next row." in absent[1]
    for baseline in (first, second, None):
        assert "was not tested here" not in verdict(comparison, baseline)[1]


def test_one_seed_gives_no_recommendation() -> None:
    (sentence,) = verdict(Runs(LEVELS, seeds=(1,)).compare())
    assert sentence.startswith("No recommendation, because nothing could be tested: a test needs at least two")
    assert "Use" not in sentence


def test_one_query_is_the_reason_why_nothing_is_tested() -> None:
    runs = Runs(LEVELS)
    runs.records = [replace(record, items={"items": 1}) for record in runs.records]
    (sentence,) = verdict(compare(runs.records, lambda record, metric: (np.arange(1), np.zeros(1))))
    assert "nothing could be tested: there is only one query." in sentence


def test_without_a_test_the_highest_row_is_named_with_its_difference_and_price() -> None:
    runs = Runs({"in_batch": 0.5}, seeds=(1,)).add(
        Runs({"mined_hard": 0.8}, seeds=(1,), cost={"texts_encoded": 25600.0})
    )
    comparison = runs.compare()
    first, second = (row.metrics["recall@1"].mean for row in comparison.rows)
    (sentence,) = verdict(comparison, "in_batch")
    assert (
        f"start with `mined_hard`: it has the highest recall@1, {first:.1f}, {first - second:+.1f} points" in sentence
    )
    assert sentence.endswith("over `in_batch`, at 4.0 times the texts encoded.")


def test_compare_ends_with_what_to_use(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("compare", "--runs-dir", str(runs_dir)) == 0
    *_, last = capsys.readouterr().out.split("\n## ")
    assert last.startswith("Which to use\n\n- ") and last.count("\n- ") == 3


def test_a_single_row_gives_no_recommendation() -> None:
    (sentence,) = verdict(Runs({"mnr": 0.5}).compare())
    assert sentence.startswith("No recommendation: only `mnr` was run (recall@1 ")


def test_the_verdict_counts_rows_that_were_not_tested_as_such() -> None:
    runs = Runs(LEVELS).add(Runs({"queue": 0.6}, seeds=(1,)))
    evidence = verdict(runs.compare())[1]
    assert "1 further row was not tested." in evidence


def test_the_glance_says_what_the_sentences_say() -> None:
    clear, close = Runs({"mnr": 0.3, "mined_hard": 0.7}).compare(), Runs(LEVELS).compare()
    table = glance([("one", clear), ("two", close)], "mnr")
    assert table.header == (
        "data set",
        "best",
        "compared with",
        "difference (95 % CI)",
        "p (corrected for)",
        "difference by exact search",
        "texts encoded",
        "cheapest statistically tied",
    )
    for title, of, row in zip(("one", "two"), (clear, close), table.rows, strict=True):
        told = dict(zip(table.header, row.cells, strict=True))
        instruction, evidence, cost = verdict(of, "mnr")
        assert told["data set"].text == title and told["compared with"].text == "mnr"
        name, value = told["best"].text.split(" ", 1)
        assert f"`{name}`" in instruction and f"recall@1 {value.strip('()')}" in evidence
        assert told["best"].strong == ("is significantly better than the other row" in evidence) == (of.best == 0)
        by, interval = told["difference (95 % CI)"].text.split(" ", 1)
        assert f"{by} points of recall@1 over `mnr` (95 % CI {interval.strip('()')}" in instruction
        p = told["p (corrected for)"]
        assert p.text.endswith(" (all rows against the baseline)")
        assert f"(p {p.text.replace(' (', ', corrected for ')}" in evidence
        significant = "The difference from `mnr` is significant" in evidence
        assert told["difference (95 % CI)"].strong == significant == (p.hint == "significant")
        assert f"{told['texts encoded'].text} texts encoded" in cost
        assert (told["cheapest statistically tied"].text == "none") == ("is statistically tied at" not in instruction)


def test_in_the_glance_a_cheaper_row_stands_with_its_cost() -> None:
    runs = Runs(LEVELS)
    dear = {"cost": {"texts_encoded": 64000.0}}
    runs.records = [replace(r, **(dear if r.strategy == "mined_hard" else {})) for r in runs.records]
    (row,) = glance([("one", runs.compare())]).rows
    assert [cell.text for cell in row.cells[-2:]] == ["64,000", "in_batch (6,400)"]


@pytest.mark.parametrize(("lost", "said"), [(0.0, ""), (3.0, "By exact search it is {:+.1f}: the index loses more")])
def test_a_difference_that_the_index_hides_is_stated(lost: float, said: str) -> None:
    runs = Runs({"mnr": 0.3, "mined_hard": 0.7})
    runs.records = [
        replace(r, metrics={**r.metrics, "exact/recall@1": r.metrics["recall@1"] + lost * (r.strategy == "mined_hard")})
        for r in runs.records
    ]
    compared = runs.compare()
    pair = compared.pair(0, 1)
    assert pair is not None
    assert ("By exact search" in verdict(compared)[1]) == bool(said)
    assert said.format(pair.difference + lost) in verdict(compared)[1]
    table = glance([("one", compared)])
    (row,) = table.rows
    assert row.cells[table.header.index("difference by exact search")].text == f"{pair.difference + lost:+.1f}"


def test_a_row_that_was_not_tested_is_not_recommended_however_high_it_is() -> None:
    runs = Runs(LEVELS).add(Runs({"queue": 0.95}, seeds=(1,)))
    instruction, evidence, _ = verdict(runs.compare())
    assert "queue" not in instruction
    assert "1 further row was not tested; `queue` has a higher mean." in evidence


def test_the_verdict_without_values_of_single_queries_says_what_is_missing() -> None:
    runs = Runs(LEVELS)

    def gone(record: Record, metric: str) -> tuple[Values, Values]:
        raise UserError("its ranks are gone")

    (sentence,) = verdict(compare(runs.records, gone))
    assert "the values of single queries cannot be used" in sentence and "two seeds" not in sentence


def test_a_cost_that_is_not_known_is_not_compared() -> None:
    runs = Runs(LEVELS)
    runs.records = [replace(r, cost={} if r.strategy == "in_batch" else r.cost) for r in runs.records]
    instruction, evidence, cost = verdict(runs.compare(), "in_batch")
    assert "not significantly different from `in_batch`" in evidence
    assert "cost" not in instruction and "texts encoded" not in instruction
    assert cost.endswith("No statistically tied row is known to cost at least 10 % less.")


def test_rows_that_are_equal_are_said_to_be_equal() -> None:
    comparison = Runs({"mnr": 0.5, "in_batch": 0.5}).compare()
    (pair,) = comparison.pairs
    equal = replace(comparison, pairs=(replace(pair, difference=0.0),))
    instruction = verdict(equal, "in_batch")[0]
    assert " has the same recall@1 as `" in instruction and "highest" not in instruction


@pytest.mark.parametrize(("second", "seeds"), [({"recall@1": 10.0}, [""]), ({"recall@1": 20.0}, ["1", "2"])])
def test_encoders_that_differ_before_training_are_told_apart_by_seed(
    second: dict[str, float], seeds: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = Runs({"mnr": 0.5}, seeds=(1, 2)).records
    before = {"recall@1": 10.0}
    show([replace(one, baseline_metrics=before), replace(two, baseline_metrics=second)])
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("before training")]
    assert [row[2] if len(row) == 4 else "" for row in rows] == seeds
