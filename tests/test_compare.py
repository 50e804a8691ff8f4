"""Comparisons of records: what belongs together, what may not be compared, which row is best, and the command."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import QUERIES, Runs, run
from tiny import bench

from bench.compare.comparability import comparable, refuse_incomparable
from bench.compare.comparison import compare
from bench.compare.interval import Values
from bench.compare.seed_groups import seed_groups
from bench.compare.select import select
from bench.errors import UserError
from bench.record.record import Record
from bench.record.serialize import as_override
from reports.comparison import title


def test_the_best_is_named_only_when_it_is_significantly_better_than_every_other() -> None:
    clear = Runs({"mnr": 0.5, "mined_hard": 0.7}).compare()
    assert [row.group.strategy for row in clear.rows] == ["mined_hard", "mnr"]
    assert clear.best == 0
    assert [row.letters for row in clear.rows] == ["a", "b"]
    close = Runs({"mnr": 0.5, "mined_hard": 0.7, "in_batch": 0.7}).compare()
    assert close.best is None
    assert {row.group.strategy: row.letters for row in close.rows} == {"mined_hard": "a", "in_batch": "a", "mnr": "b"}


def test_a_row_of_one_seed_never_wins_and_is_not_tested() -> None:
    runs = Runs({"mnr": 0.5, "in_batch": 0.4})
    lucky = run("triplet", 1, metrics={"recall@1": 99.0})
    runs.records.append(lucky)
    found = runs.compare()
    assert found.rows[-1].group.strategy == "triplet", "however high it stands"
    assert found.rows[-1].metrics["recall@1"].low is None
    assert found.rows[-1].letters == ""
    assert found.best is None
    assert {row for pair in found.pairs for row in (pair.first, pair.second)} == {0, 1}
    assert any("one seed" in note and "triplet" in note for note in found.notes)


def test_a_row_that_could_not_be_tested_stands_after_those_that_were() -> None:
    runs = Runs({"mnr": 0.5, "mined_hard": 0.9, "in_batch": 0.4})

    def per_query(record: Record, metric: str) -> tuple[Values, Values]:
        if record.strategy == "mined_hard":
            raise UserError("its ranks are gone")
        return runs.per_query(record, metric)

    found = compare(runs.records, per_query, resamples=1000)
    assert [(row.group.strategy, row.letters) for row in found.rows] == [
        ("mnr", "a"),
        ("in_batch", "b"),
        ("mined_hard", ""),
    ]
    assert [(pair.first, pair.second) for pair in found.pairs] == [(0, 1)]
    assert (found.leaders, found.best) == ([0], None)


@pytest.mark.parametrize(("queries", "odd", "told"), [(1, 0.0, "one query"), (50, np.nan, "not numbers")])
def test_values_that_allow_no_test_are_not_tested(queries: int, odd: float, told: str) -> None:
    runs = Runs({"mnr": 0.5, "mined_hard": 0.7})

    def per_query(record: Record, metric: str) -> tuple[Values, Values]:
        asked, values = runs.per_query(record, metric)
        return asked[:queries], np.append(values[: queries - 1], odd)

    found = compare(runs.records, per_query, resamples=1000)
    assert (found.pairs, found.leaders) == ((), [])
    assert any(told in note for note in found.notes)


def test_runs_of_other_data_are_other_cells() -> None:
    """However alike they are otherwise: no seed of one set is a seed of another."""
    here, there = Runs({"mnr": 0.5}), Runs({"mnr": 0.9}, data={"name": "other", "fingerprint": "beef", "counts": {}})
    both = [*here.records, *there.records]
    with pytest.raises(UserError, match="differ in data"):
        compare(both, here.per_query)
    assert [(cell.label, cell.seeds) for cell in seed_groups(both)] == [
        ("mnr data=faq", (1, 2, 3)),
        ("mnr data=other", (1, 2, 3)),
    ]


def test_a_command_names_every_seed_also_that_which_was_not_said() -> None:
    runs = [run("mnr", 1, command="bench run strategy=mnr"), *(run("mnr", seed) for seed in (2, 3))]
    assert seed_groups(runs)[0].commands == ("bench run strategy=mnr seed=1,2,3",)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_in_a_label_is_that_number(value: float) -> None:
    assert float(as_override(value)) == value


def test_other_queries_cannot_be_paired() -> None:
    runs = Runs({"mnr": 0.5, "mined_hard": 0.7})
    shift = iter(range(100))
    found = compare(runs.records, lambda record, metric: (np.arange(QUERIES) + next(shift), runs.values[record.run_id]))
    assert (found.pairs, found.best) == ((), None)
    assert any("other queries than the rows above" in note for note in found.notes)


@pytest.mark.parametrize(
    ("aspect", "changes"),
    [
        ("data", {"data": {"name": "faq", "fingerprint": "beef", "counts": {}}}),
        ("encoder", {"encoder": {"name": "minilm"}}),
        ("encoder", {"train": {"init_from": "other-run"}}),
        ("evaluation", {"split": "dev"}),
        ("budget", {"selection": {"steps": 200}}),
        ("budget", {"train": {"batch_size": 64}}),
    ],
)
def test_what_differs_is_refused_with_the_reason_or_noted(aspect: str, changes: dict[str, Any]) -> None:
    pair = seed_groups([run("mnr", 1), run("in_batch", 1, **changes)])
    with pytest.raises(UserError, match=rf"differ in {aspect}") as refused:
        refuse_incomparable(pair, [])
    assert f"--allow {aspect}" in str(refused.value) and "mnr" in str(refused.value)
    (note,) = refuse_incomparable(pair, [aspect])
    assert note.startswith(f"{aspect} differs")


def test_the_same_budget_may_come_from_other_steps() -> None:
    half = run("in_batch", 1, selection={"steps": 50}, train={"batch_size": 64})
    assert refuse_incomparable(seed_groups([run("mnr", 1), half]), []) == []


def test_runs_that_dev_ends_have_the_same_budget_where_they_stop_by_the_same_rule() -> None:
    stopping = {"patience": 4, "eval_every": 100, "max_steps": 4000}
    early = run("in_batch", 1, selection={"steps": 50}, train=stopping)
    assert refuse_incomparable(seed_groups([run("mnr", 1, train=stopping), early]), []) == []
    for other in ({"patience": 5}, {"eval_every": 50}, {"max_steps": 2000}, {"patience": None}):
        pair = seed_groups([run("mnr", 1, train={**stopping, **other}), early])
        with pytest.raises(UserError, match="differ in budget"):
            refuse_incomparable(pair, [])


def test_knobs_tell_cells_of_one_strategy_apart_and_repetitions_are_no_seeds() -> None:
    again = replace(run("mnr", 1), finished="2026-01-02T00:00:00+00:00", run_id="later")
    found = seed_groups([run("mnr", 1), run("mnr", 2), again, run("mnr", 1, knobs={"scale": 5.0})])
    assert [(cell.label, cell.seeds) for cell in found] == [("mnr scale=20", (1, 2)), ("mnr scale=5", (1,))]
    assert found[0].records[0].run_id == "later"


def test_how_long_it_trains_is_the_budget_s_to_tell_except_among_cells_of_one_strategy() -> None:
    half, staged = run("mnr", 1, train={"max_steps": 50}), {"max_steps": None, "stage_steps": [50, 50]}
    assert [cell.label for cell in seed_groups([run("mnr", 1), run("simcse_ibn", 1, train=staged)])] == [
        "mnr",
        "simcse_ibn",
    ]
    assert [c.label for c in seed_groups([run("mnr", 1), half])] == ["mnr max_steps=100", "mnr max_steps=50"]
    (note,) = refuse_incomparable(seed_groups([half, run("in_batch", 1, selection={"steps": 50})]), ["budget"])
    assert "examples=1600 (in_batch)" in note
    wide = run("in_batch", 1, train={"batch_size": 64})
    assert [cell.label for cell in seed_groups([run("mnr", 1), wide])] == [
        "mnr batch_size=32",
        "in_batch batch_size=64",
    ]


def test_records_are_chosen_by_any_setting() -> None:
    records = [run("mnr", 1), run("in_batch", 2), run("mnr", 3, knobs={"scale": 5.0})]
    assert [r.seed for r in select(records, ["strategy=mnr"])] == [1, 3]
    assert [r.seed for r in select(records, ["strategy=mnr,in_batch", "seed=1,2"])] == [1, 2]
    assert [r.seed for r in select(records, ["strategy.scale=5"])] == [3]
    assert [r.seed for r in select(records, ["strategy.scale=5e0"])] == [3]
    budgeted = run("mnr", 4, config={**records[0].config, "budget": {"steps": 9}})
    assert [r.seed for r in select([*records, budgeted], ["budget.steps=null"])] == [1, 2, 3]
    assert [r.seed for r in select([*records, budgeted], ["budget.steps=9"])] == [4]
    assert select(records, ["data=faq"]) == select(records, ["data=../data/faq"]) == records
    for words, message in (
        (["stratgy=mnr"], "'stratgy'.*strategy"),
        (["mnr"], "not key=value"),
        (["strategy=triplet"], "no record has strategy=triplet; there is in_batch, mnr"),
    ):
        with pytest.raises(UserError, match=message):
            select(records, words)


def test_the_engine_of_search_is_told_of_rows_that_differ_in_it() -> None:
    """A record from before there was a choice is one of hnswlib."""
    old = run("mnr", 1)
    other = run("mnr", 2, config={**old.config, "index": {"engine": "faiss"}})
    assert [cell.label for cell in seed_groups([old, other])] == ["mnr engine=hnswlib", "mnr engine=faiss"]
    assert len(comparable([old, other])) == 2
    assert len(comparable([old, run("mnr", 2, config={**old.config, "index": {"engine": "hnswlib"}})])) == 1
    assert select([old, other], ["index.engine=hnswlib"]) == [old]
    assert select([old, other], ["index.engine=faiss"]) == [other]


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    return Runs({"mnr": 0.5, "mined_hard": 0.7, "in_batch": 0.7}).write(tmp_path)


FAMILIES = (
    "### Every row against the baseline",
    "| p (against the baseline) |",
    "### The best row against the rest",
    "| p (best against the rest) |",
)


def test_the_command_shows_quality_significance_and_cost(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("compare", "--runs-dir", str(runs_dir)) == 0
    out = capsys.readouterr().out
    assert "**" not in out
    first = [[cell.strip() for cell in line.split("|")] for line in out.splitlines()[4:7]]
    assert {cells[1]: cells[6] for cells in first} == {"mined_hard": "a", "in_batch": "a", "mnr": "b"}
    assert "| texts encoded |" in out and "points per 10k texts" in out
    for heading in (*FAMILIES, "index (hnswlib) against exact search", "### All metrics"):
        assert heading in out
    assert bench("compare", "strategy=mnr,mined_hard", "--runs-dir", str(runs_dir), "--every-pair") == 0
    out = capsys.readouterr().out
    assert "**" in out and "### All pairs" in out and "| p (all pairs) |" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--metric", "recall@7"], "has no metric 'recall@7'; there is exact/recall@1, recall@1"),
        (["--allow", "colour"], "only data, encoder, evaluation, budget"),
        (["data=other"], "no record has data=other"),
        (["metric=recall@1"], "metric is not a setting of runs; give it as --metric recall@1"),
        (["strategy=mnr", "train.init_from=x"], "no record has train.init_from=x; no run set it"),
    ],
)
def test_the_command_refuses_in_one_line(
    runs_dir: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench("compare", *words, "--runs-dir", str(runs_dir)) == 2
    err = capsys.readouterr().err
    assert re.search(message, err), err
    assert "Traceback" not in err


def test_a_row_without_its_ranks_is_noted_and_not_tested(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gone = next(iter(runs_dir.glob("mnr*/ranks.parquet")))
    gone.unlink()
    assert bench("compare", "--runs-dir", str(runs_dir)) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert f"mnr is not tested: {gone}, which holds the values of single items, is missing" in out
    assert "| mined_hard | in_batch" in out


def test_a_metric_that_single_queries_do_not_have_cannot_be_tested(
    runs_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench("compare", "--metric", "exact/recall@1", "--runs-dir", str(runs_dir)) == 0
    assert "nothing is tested" in capsys.readouterr().out


def test_a_row_whose_ranks_contradict_its_record_is_noted_and_not_tested(
    runs_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = next(iter(runs_dir.glob("mnr*/record.json")))
    record = json.loads(path.read_text())
    record["metrics"]["recall@1"] += 10
    path.write_text(json.dumps(record))
    assert bench("compare", "--runs-dir", str(runs_dir)) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert f"mnr is not tested: {path.parent / 'ranks.parquet'}: its mean recall@1 is" in out


def test_two_equal_seeds_have_an_interval_and_the_note_says_that_there_are_two() -> None:
    runs = Runs({"mnr": 0.5, "mined_hard": 0.7}, seeds=(1, 2)).add(Runs({"in_batch": 0.6}, seeds=(1,)))
    first, second = (record for record in runs.records if record.strategy == "mnr")
    runs.values[second.run_id] = runs.values[first.run_id]
    runs.records[runs.records.index(second)] = replace(second, metrics=first.metrics)
    found = runs.compare()
    row = next(row for row in found.rows if row.group.strategy == "mnr").metrics["recall@1"]
    assert row.sd == 0 and row.low is not None and row.high is not None
    by_queries = 1.96 * np.std(runs.values[first.run_id]) / np.sqrt(QUERIES)
    assert (row.high - row.low) / 2 == pytest.approx(by_queries, rel=0.02)
    assert [note for note in found.notes if "two seeds" in note and "mnr" in note and "mined_hard" in note]
    assert [note for note in found.notes if note.startswith("one seed") and note.endswith("in_batch")]


@pytest.mark.parametrize(("queries", "noted"), [(10, True), (99, True), (100, False)])
def test_a_note_says_that_a_test_set_is_small(queries: int, noted: bool) -> None:
    records = [
        replace(record, items={**record.items, "items": queries})
        for record in Runs({"mnr": 0.5, "mined_hard": 0.7}, seeds=(1,)).records
    ]
    found = compare(records, lambda record, metric: (np.arange(queries), np.zeros(queries)))
    told = f"only {queries} queries, so only large differences can be significant"
    assert (told in found.notes) == noted


def test_rows_that_agree_on_every_query_have_a_difference_with_an_interval() -> None:
    runs = Runs({"mnr": 0.5, "mined_hard": 0.7}, seeds=(1, 2))
    first = runs.records[0]
    for number, record in enumerate(runs.records):
        runs.values[record.run_id] = runs.values[first.run_id]
        runs.records[number] = replace(record, metrics=first.metrics)
    (pair,) = runs.compare().pairs
    assert pair.difference == 0 and pair.p == 1
    assert pair.high == -pair.low == pytest.approx(196 / (QUERIES + 2), rel=0.01)


@pytest.mark.parametrize(("counts", "known"), [({"test_queries": 1000}, True), ({}, False)])
def test_where_values_of_queries_are_missing_their_number_bounds_the_interval(
    counts: dict[str, Any], known: bool
) -> None:
    data = {"name": "faq", "fingerprint": "f00d", "counts": counts}
    records = [run("mnr", seed, metrics={"recall@1": 50.0, "hard/recall@1": 50.0}, data=data) for seed in (1, 2)]

    def gone(record: Record, metric: str) -> tuple[Values, Values]:
        raise UserError("its ranks are gone")

    (row,) = compare(records, gone).rows
    assert (row.metrics["recall@1"].low is not None) == known
    assert row.metrics["hard/recall@1"].low is None, "nobody knows how many queries a part has"
    if known:
        assert row.metrics["recall@1"].high == pytest.approx(50 + 1.96 * 50 / np.sqrt(1000), abs=0.02)


def test_failed_runs_are_counted_once_and_only_where_the_words_fit_them(
    runs_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from bench.record.store import RunDirectory

    for seed in (7, 8):
        lost = run("mnr", seed, status="failed", error="loss is nan")
        with RunDirectory.open(runs_dir, lost.run_id) as directory:
            directory.write_record(lost)
    assert bench("compare", "--runs-dir", str(runs_dir)) == 0
    assert capsys.readouterr().err == "left out: failed runs (2); bench report lists them\n"
    assert bench("compare", "strategy=in_batch,mined_hard", "--runs-dir", str(runs_dir)) == 0
    assert capsys.readouterr().err == ""
    assert bench("report", "--runs-dir", str(runs_dir)) == 0
    assert capsys.readouterr().out.count("failed: loss is nan") == 2


@pytest.mark.parametrize(("key", "values"), [("data", ("faq", "news")), ("encoder", ("minilm-l3", "minilm"))])
def test_words_that_separate_runs_are_named(key: str, values: tuple[str, str]) -> None:
    records = []
    for name, seed, value in product(("mnr", "queue"), (1, 2), values):
        one = run(name, seed, metrics={"recall@1": 50.0})
        config = {**one.config, "data": {"name": "faq"}, "encoder": {"name": "minilm-l3"}, key: {"name": value}}
        own = {"name": value, "fingerprint": value, "counts": {}} if key == "data" else {"name": value}
        records.append(replace(one, config=config, run_id=f"{one.run_id}-{value}", **{key: own}))
    with pytest.raises(UserError, match="these runs cannot be compared") as told:
        refuse_incomparable(seed_groups(records), ())
    words = re.findall(r"(?:such as|or) (\S+=[^\s)]+)", str(told.value))
    assert len(words) == 2
    for word in words:
        assert len(comparable(select(records, [word]))) == 1


def test_words_are_named_where_no_setting_alone_separates_the_runs() -> None:
    records = []
    for texts, split in ((50, "dev"), (50, "test"), (None, "dev")):
        for name, seed in product(("mnr", "queue"), (1, 2)):
            one = run(name, seed, metrics={"recall@1": 50.0}, split=split)
            config = {**one.config, "budget": {"texts": texts}, "eval": {"split": split}}
            records.append(replace(one, config=config, run_id=f"{one.run_id}-{texts}-{split}"))
    with pytest.raises(UserError) as told:
        refuse_incomparable(seed_groups(records), ())
    (said,) = re.findall(r"such as (.*)\), or pass", str(told.value))
    assert len(said.split(" or ")) == 3
    for words in said.split(" or "):
        (chosen,) = comparable(select(records, words.split()))
        assert len(chosen) == 4


@pytest.mark.parametrize(
    ("post", "post_on", "noted"), [("whitening", "all", 1), ("whitening", "train", 0), ("none", "all", 0)]
)
def test_what_has_seen_the_texts_that_are_evaluated_is_noted(post: str, post_on: str, noted: int) -> None:
    encoder = {"name": "minilm-l3", "post": post, "post_on": post_on}
    found = Runs({"mnr": 0.5, "in_batch": 0.7}, encoder=encoder).compare()
    assert sum("(transductive): in_batch, mnr" in note for note in found.notes) == noted


@pytest.mark.parametrize(("kept", "told"), [(None, "minilm"), ([], "minilm layers=[]"), ([0], "minilm layers=[0]")])
def test_a_comparison_is_titled_with_the_layers_that_its_encoder_kept(kept: list[int] | None, told: str) -> None:
    runs = Runs({"mnr": 0.5, "mined_hard": 0.7})
    runs.records[:] = [replace(record, encoder={"name": "minilm", "layers": kept}) for record in runs.records]
    assert title(runs.compare()).endswith(f", test: {told}")
