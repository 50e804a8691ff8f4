"""A report says what the records say: every number has its runs, what differs is apart, and nothing is invented."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from records import LEVELS, Runs, run
from tiny import bench

from bench.record.ledger import read
from bench.record.store import RunDirectory
from reports.blocks import Block, Code, Section, Table
from reports.comparison import main
from reports.comparison import settings as told_settings
from reports.markdown import render as to_markdown
from reports.parts import parts
from reports.report import build, text, write
from reports.study import answer
from reports.training import telemetry


def every(blocks: tuple[Block, ...] | list[Section], kind: type) -> list[Any]:
    """All blocks of a kind, at any depth."""
    found = [block for block in blocks if isinstance(block, kind)]
    return found + [b for block in blocks if isinstance(block, Section) for b in every(block.blocks, kind)]


def named(runs: Runs, name: str) -> Runs:
    """The runs with ids of their own."""
    runs.records = [replace(record, run_id=f"{name}-{record.run_id}") for record in runs.records]
    runs.values = {f"{name}-{run_id}": values for run_id, values in runs.values.items()}
    return runs


# Which runs stand together


@pytest.mark.parametrize(
    "changes",
    [
        {"data": {"name": "other", "fingerprint": "beef", "counts": {}}},
        {"data": {"name": "faq", "fingerprint": "beef", "counts": {}}},
        {"encoder": {"name": "other"}},
        {"split": "dev"},
        {"selection": {"steps": 50}},
    ],
)
def test_runs_that_may_not_be_compared_are_in_parts_of_their_own(tmp_path: Path, changes: dict[str, Any]) -> None:
    metrics = {"recall@1": 50.0}
    records = [run("mnr", 1, metrics=metrics), run("in_batch", 1, metrics=metrics, **changes)]
    found = parts(records, tmp_path, "recall@1")
    assert [len(group.records) for group in found] == [1, 1]
    assert len({group.title for group in found}) == len({group.name for group in found}) == 2


def test_a_setting_makes_a_row_and_seeds_do_not(tmp_path: Path) -> None:
    metrics = {"recall@1": 50.0}
    records = [run("mnr", seed, metrics=metrics) for seed in (1, 2)]
    records += [run("mnr", seed, metrics=metrics, knobs={"scale": 5.0}) for seed in (1, 2)]
    (group,) = parts(records, tmp_path, "recall@1")
    assert [(row.group.setting, row.group.seeds) for row in group.comparison.rows] == [
        ("scale=20", (1, 2)),
        ("scale=5", (1, 2)),
    ]


def test_settings_stand_with_what_is_equal(runs_dir: Path) -> None:
    shown = " ".join(text(build(read(runs_dir), runs_dir)).split())
    equal = shown[shown.index("Equal in all rows:") :].partition(". ")[0]
    for told in (
        "encoder.name=minilm-l3",
        "eval.retrieve=50",
        "index.engine=hnswlib",
        "train.batch_size=32",
        "train.max_steps=100",
    ):
        assert told in equal
    assert re.search(r"\| mnr +\| scale=20 +\|", shown)


def test_later_settings_of_the_encoder_are_told_only_where_they_say_something(tmp_path: Path) -> None:
    metrics, shown = {"recall@1": 50.0}, []
    for causal in (False, True):
        encoder = {"name": "bert", "causal": causal, "trust_remote_code": False}
        records = [replace(run(name, 1, metrics=metrics), encoder=encoder) for name in ("mnr", "in_batch")]
        (group,) = parts(records, tmp_path, "recall@1")
        section = told_settings(group.comparison)
        assert section is not None
        shown.append(" ".join(to_markdown([section]).split()))
    assert "encoder.causal" not in shown[0] and "encoder.causal=true" in shown[1]
    assert not any("trust_remote_code" in told for told in shown)


def test_trials_of_a_search_are_reported_as_a_study_and_not_as_results(
    runs_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trial = run("mnr", 9, metrics={"recall@1": 99.0}, run_id="trial-1", knobs={"scale": 7.0})
    with RunDirectory.open(runs_dir, "trial-1") as directory:
        directory.write_record(trial)
    assert "99.00" in text(build(read(runs_dir), runs_dir))
    study = runs_dir / "studies" / "margin-faq-1"
    study.mkdir(parents=True)
    told = {
        "schema": 1,
        "name": "margin-faq-1",
        "asks": "Which margin?",
        "command": "bench study margin",
        "selected_by": "dev mrr",
        "split": "test",
        "logarithmic": [],
        "arms": [
            {
                "strategy": "mnr",
                "trials": 1,
                "complete": 1,
                "pruned": 0,
                "failed": 0,
                "importances": {},
                "finals": {"best": "bench run strategy=mnr"},
                "best": None,
                "why": "",
            }
        ],
        "comparison": {
            "metric": "recall@1",
            "best": None,
            "notes": [],
            "rows": [
                {
                    "label": "mnr",
                    "commands": [record.command for record in Runs(LEVELS).records],
                    "letters": "",
                    "cost": {},
                    "before": {},
                    "metrics": {"recall@1": {"n": 1, "mean": 50.0, "low": None, "high": None}},
                }
            ],
        },
    }
    (study / "study.json").write_text(json.dumps(told))
    (study / "searched.txt").write_text("trial-1\n")
    import pandas as pd

    pd.DataFrame({"strategy": ["mnr"], "number": [0], "state": ["complete"], "value": [1.0]}).to_parquet(
        study / "trials.parquet"
    )
    shown = text(build(read(runs_dir), runs_dir))
    assert "99.00" not in shown and "Which margin?" in shown and "bench study margin" in shown
    assert "## faq, test: minilm-l3 (study margin)" in shown, "it made all rows"
    (study / "study.json").write_text(json.dumps({**told, "schema": 0}))
    assert "was written by another version" in " ".join(text(build(read(runs_dir), runs_dir)).split())
    (row,) = told["comparison"]["rows"]
    mixed = "3 of 9 runs are final runs of a study"
    for commands, said in ((row["commands"], False), (row["commands"][:3], True)):
        of_some = {**told["comparison"], "rows": [{**row, "commands": commands}]}
        (study / "study.json").write_text(json.dumps({**told, "comparison": of_some}))
        assert bench("compare", "--runs-dir", str(runs_dir)) == 0
        printed = capsys.readouterr()
        assert "99.00" not in printed.out and "trials of studies' searches (1)" in printed.err
        assert (mixed in printed.err) == said


def test_a_metric_that_a_part_lacks_is_replaced_by_one_it_has_and_said(tmp_path: Path) -> None:
    other = run("mnr", 1, metrics={"recall@3": 5.0, "recall@1": None}, split="dev")
    found = parts([run("mnr", 1, metrics={"recall@1": 5.0}), other], tmp_path, "recall@1")
    (part,) = (group.comparison for group in found if group.records == [other])
    assert part.metric == "recall@3" and "since not all of these runs have recall@1" in part.notes[0]


def test_a_metric_that_nobody_has_is_refused(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("report", "--runs-dir", str(runs_dir), "--metric", "recall@7") == 2
    assert "no run has the metric 'recall@7'; there is exact/recall@1, recall@1" in capsys.readouterr().err


def test_a_run_that_repeats_a_seed_is_left_out_and_counted(tmp_path: Path) -> None:
    metrics = {"recall@1": 50.0}
    twice = [run("mnr", 1, metrics=metrics), run("mnr", 1, metrics=metrics, run_id="again")]
    (group,) = parts(twice, tmp_path, "recall@1")
    assert "runs that repeat a seed of their row: 1" in group.comparison.notes[0]


# Numbers


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 100), min_size=1, max_size=6))
def test_a_row_is_the_mean_and_spread_of_its_seeds(recalls: list[float]) -> None:
    records = [run("mnr", seed, metrics={"recall@1": value}) for seed, value in enumerate(recalls)]
    (group,) = parts(records, Path("nowhere"), "recall@1")
    (row,) = main(group.comparison).rows
    shown = dict(zip(main(group.comparison).header, row.cells, strict=True))
    assert shown["recall@1"].value == pytest.approx(np.mean(recalls), abs=1e-9)
    assert shown["seeds"].text == str(len(recalls))
    if len(recalls) > 1:
        assert shown["sd"].value == pytest.approx(np.std(recalls, ddof=1), abs=1e-6)
    else:
        assert shown["sd"].text == shown["95 % CI"].text == ""


def test_every_row_has_the_command_that_repeats_it(runs_dir: Path) -> None:
    ledger = read(runs_dir)
    report = build(ledger, runs_dir)
    rows = [row for found in every(report.sections, Table) for row in found.rows if row.commands]
    assert {command for row in rows for command in row.commands} == {
        f"bench run strategy={name} seed=1,2,3" for name in LEVELS
    }
    shown = text(report)
    assert all(shown.count(command) >= 1 for row in rows for command in row.commands)


def test_the_order_of_records_does_not_matter(runs_dir: Path) -> None:
    ledger = read(runs_dir)
    backwards = replace(ledger, records=ledger.records[::-1])
    assert text(build(ledger, runs_dir)) == text(build(backwards, runs_dir))


def test_telemetry_is_the_mean_over_seeds_of_what_all_have(tmp_path: Path) -> None:
    first = {"simcse/active": 1.0, "simcse/drawn_above": 0.5}
    records = [
        run("mnr", seed, metrics={"recall@1": 1.0}, training={"telemetry": {**first, "ibn/active": seed / 4, **more}})
        for seed, more in ((1, {"ibn/loss": 3.0}), (3, {}))
    ]
    (group,) = parts(records, tmp_path, "recall@1")
    assert telemetry(group.comparison.rows[0]) == {"active": 0.5}, "of the last stage"


def test_the_hardest_queries_stand_with_what_was_retrieved(runs_dir: Path) -> None:
    first = parts(read(runs_dir).records, runs_dir, "recall@1")[0].comparison.rows[0].group.records[0]
    worst = [
        {
            "row": 7,
            "query": "who?",
            "rank": None,
            "relevant": ["him"],
            "retrieved": [{"text": "somebody " * 50, "score": 0.5}],
        }
    ]
    with RunDirectory.open(runs_dir, first.run_id) as directory:
        directory.write_hardest(worst)
    (found,) = (t for t in every(build(read(runs_dir), runs_dir).sections, Table) if t.header[0] == "query")
    query, labelled, came, rank, others = found.rows[0].cells
    assert (query.text, labelled.text, rank.text) == ("who?", "him", "not found")
    assert came.text.endswith("…") and came.hint == ("somebody " * 50).strip()
    assert others.text in ("0%", "50%", "100%")


def test_each_warning_stands_once_with_its_number_of_runs(runs_dir: Path) -> None:
    ledger = read(runs_dir)
    told = [
        ["12 texts were cut"],
        ["12 texts were cut", "12 texts were cut", "a tie decides 3 queries"],
    ]
    rest = ledger.records[len(told) :]
    warned = [replace(r, training={"warnings": w}) for r, w in zip(ledger.records, told, strict=False)]
    shown = " ".join(text(build(replace(ledger, records=[*warned, *rest]), runs_dir)).split())
    assert f"- 12 texts were cut (2 of {len(ledger.records)} runs)" in shown
    assert f"- a tie decides 3 queries (1 of {len(ledger.records)} runs)" in shown
    assert shown.count("12 texts were cut") == 1


def test_a_baseline_that_does_not_exist_is_refused(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("report", "--runs-dir", str(runs_dir), "--against", "in_bach") == 2
    assert "did you mean 'in_batch'" in capsys.readouterr().err


def test_tuned_rows_of_a_study_stand_apart_from_those_of_published_settings(tmp_path: Path) -> None:
    tuned = Runs({"in_batch": 0.9}, knobs={"scale": 7.0}, command="bench run strategy=in_batch strategy.scale=7")
    records = [*Runs(LEVELS).records, *tuned.records]
    assert len(parts(records, tmp_path, "recall@1")) == 1
    published, study = parts(records, tmp_path, "recall@1", {"showdown-faq-1": {tuned.records[0].command}})
    assert len(published.comparison.rows) == len(LEVELS) and "showdown" not in published.title
    assert study.records == tuned.records and study.title.endswith("(study showdown)")


def test_a_study_whose_settings_are_not_comparable_is_one_part(tmp_path: Path) -> None:
    """Nine settings of the index are nine evaluations, and one question."""
    grid = [(m, ef) for m in (8, 32, 100) for ef in (50, 100, 400)]
    studied = named(Runs(LEVELS), "plain")
    for number, (m, ef) in enumerate(grid):
        one = named(Runs({"mnr": 0.3 + number / 20}), f"m{m}-ef{ef}")
        for record in one.records:
            config = {**record.config, "index": {"m": m, "ef": ef}}
            studied.records.append(replace(record, config=config, command=f"bench run index.m={m} index.ef={ef}"))
        studied.values |= one.values
    studied.write(tmp_path)
    commands = {record.command for record in studied.records if "index" in record.command}
    assert len(parts(studied.records, tmp_path)) == 1 + len(grid), "without the study nobody knows that it is one"
    twice = {"hnsw-faq-1": commands, "hnsw-faq-2": commands}
    assert len({part.title for part in parts(studied.records, tmp_path, studies=twice)}) == 3
    found = parts(studied.records, tmp_path, studies={"hnsw-faq-1": commands})
    assert sorted(part.title for part in found) == ["faq, test: minilm-l3", "faq, test: minilm-l3 (study hnsw)"]
    (part,) = (part for part in found if part.what)
    assert {row.group.label for row in part.comparison.rows} == {f"mnr m={m} ef={ef}" for m, ef in grid}
    assert all(row.letters and row.group.seeds == (1, 2, 3) for row in part.comparison.rows)
    assert [note for note in part.comparison.notes if note.startswith("evaluation differs")]


def test_a_report_of_one_part_states_its_recommendation_once(runs_dir: Path) -> None:
    shown = " ".join(text(build(read(runs_dir), runs_dir)).split())
    (statement,) = re.findall(r"(?:Use|No clear winner:) `mined_hard`", shown)
    assert statement and "```sh # mined_hard bench run strategy=mined_hard seed=1,2,3 ```" in shown


def test_where_parts_are_several_each_says_what_it_recommends_with_its_command(tmp_path: Path) -> None:
    for name, levels in {"faq": LEVELS, "other": {"mnr": 0.3, "in_batch": 0.7}}.items():
        named(Runs(levels, data={"name": name, "fingerprint": name, "counts": {}}), name).write(tmp_path)
    verdicts, *rest = build(read(tmp_path), tmp_path).sections
    (glanced,) = (block for block in verdicts.blocks if isinstance(block, Table))
    assert {row.commands for row in glanced.rows} == {
        ("bench run strategy=mined_hard seed=1,2,3",),
        ("bench run strategy=in_batch seed=1,2,3",),
    }
    assert [sum(isinstance(block, Code) for block in part.blocks) for part in rest[:2]] == [1, 1]


def test_a_page_that_is_written_again_leaves_no_figures_of_the_earlier_one_and_deletes_nothing_else(
    tmp_path: Path, runs_dir: Path
) -> None:
    write(read(runs_dir), runs_dir, tmp_path)
    earlier = set((tmp_path / "figures").iterdir())
    (own := tmp_path / "figures" / "own.png").touch()
    data = {"name": "other", "fingerprint": "beef", "counts": {}}
    Runs({"mnr": 0.3, "in_batch": 0.7}, data=data).write(other := tmp_path / "other")
    write(read(other), other, tmp_path)
    write(read(other), other, tmp_path / "expected")
    there = {path.name for path in (tmp_path / "figures").iterdir()}
    assert there == {path.name for path in (tmp_path / "expected" / "figures").iterdir()} | {own.name}
    assert earlier - {tmp_path / "figures" / name for name in there}


@pytest.mark.parametrize(
    ("letters", "best", "expected"),
    [
        (["a", "b"], 0, "Of the final runs, `x` is significantly better than every other"),
        (["a", "ab", "b"], None, "`x` has the highest recall@1; it is not significantly different from `y`."),
        (["a", "b", ""], None, "Of the tested rows, `x` is significantly better than every other."),
        (["", ""], None, "The final runs were not tested against each other."),
        (["a"], None, "There is one row, `x`, so nothing was compared."),
    ],
)
def test_a_study_answers_whether_its_best_row_is_better(letters: list[str], best: int | None, expected: str) -> None:
    rows: list[dict[str, Any]] = [{"label": label, "letters": own} for label, own in zip("xyz", letters, strict=False)]
    for place, row in enumerate(rows):
        row["metrics"] = {"recall@1": {"mean": 9.0 - place}}
    comparison = {"metric": "recall@1", "best": best, "rows": rows}
    told: dict[str, Any] = {"selected_by": None, "comparison": comparison, "arms": [{"strategy": "queue", "why": ""}]}
    assert answer(told).startswith(expected)
    told["arms"][0]["why"] = "it is invalid"
    assert answer(told).endswith(" No trial of `queue` finished, so it is not compared.")
    searched = answer({**told, "selected_by": "dev exact/mrr@10"})
    assert ("not tested" in searched or len(rows) == 1) or "at the settings that the search found" in searched


def test_a_study_whose_rows_are_equal_says_so() -> None:
    row = {"letters": "a", "metrics": {"recall@1": {"mean": 9.0}}}
    comparison = {"metric": "recall@1", "best": None, "rows": [{**row, "label": label} for label in "xy"]}
    found = answer({"selected_by": None, "comparison": comparison, "arms": []})
    assert found.startswith("`x` has the same recall@1 as `y`, the highest; it is not significantly different")
