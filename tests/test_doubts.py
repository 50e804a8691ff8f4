"""What makes a result doubtful is told where it is made and where it is compared."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from records import Runs
from tiny import bench
from tiny_runs import only_run, record_of, words
from toys import toy_data

from bench.config.overrides import resolve
from bench.data.dataset import DataSet, Ragged, Split
from bench.record.record import Record
from bench.run.doubts import doubts, mostly_mining, seen_queries
from bench.train.budget import Plan
from bench.train.config import TrainConfig
from bench.train.diagnostics import length, rising
from bench.train.state import Progress

SEEN = "test queries are also train queries"


def leaking(shared: int, queries: int = 60) -> DataSet:
    """Toy data of which ``shared`` of the test queries are train queries too."""
    data = toy_data(topics=120)
    train, dev = data.splits["train"], data.splits["dev"]
    data = replace(data, tasks={})  # with scores they would be what is measured
    asked = np.concatenate([train.queries[:shared], dev.queries[: queries - shared]])
    return replace(data, splits={"train": train, "test": Split(asked, Ragged.of([[0]] * queries))})


def test_measured_queries_that_are_trained_on_are_counted() -> None:
    data, config = leaking(7), resolve([])
    assert seen_queries(data, "test") == 7 and seen_queries(leaking(0), "test") == 0
    (said,) = doubts(data, "test", 7, config)
    assert said.startswith(f"7 of 60 {SEEN}")
    assert [*doubts(leaking(0), "test", 0, config)] == []
    assert [*doubts(data, "test", 7, resolve(["train.epochs=0"]))] == [], "nothing is trained on"


def test_nothing_is_said_of_queries_where_pairs_with_scores_are_measured() -> None:
    data = replace(leaking(7, queries=8), tasks=toy_data().tasks)
    assert data.scored_tasks and seen_queries(data, "test") == 0
    assert [*doubts(data, "test", 0, resolve([]))] == []


def test_too_few_queries_to_measure_or_to_select_by_are_told() -> None:
    data = leaking(0, queries=8)
    data = replace(data, splits={**data.splits, "dev": data.splits["test"]})
    both = [
        "test has only 8 queries, so its metrics vary much by chance",
        "dev has only 8 queries, so which weights it selects is partly chance",
    ]
    for several in (["train.eval_every=5"], ["train.epochs=2"], ["budget.steps=90"]):
        assert [*doubts(data, "test", 0, resolve(several))] == both
    for one in ([], ["train.eval_every=0", "train.epochs=2"]):
        assert [*doubts(data, "test", 0, resolve(one))] == both[:1], "dev is searched at the end or never"


def test_dev_selects_by_the_queries_that_are_searched() -> None:
    data = leaking(0)
    data = replace(data, splits={**data.splits, "dev": data.splits["test"]})
    assert [*doubts(data, "test", 0, resolve(["train.eval_every=5"]))] == []
    (said,) = doubts(data, "test", 0, resolve(["train.eval_every=5", "train.eval_queries=9"]))
    assert said.startswith("dev has only 9 queries")


def test_a_run_on_leaking_data_says_so_in_its_log_and_its_record_and_a_comparison_repeats_it(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "leaking"
    place.mkdir()
    for file in data.iterdir():
        (place / file.name).write_bytes(file.read_bytes())
    lines = {name: (place / f"{name}.tsv").read_text().splitlines() for name in ("train", "test")}
    (place / "test.tsv").write_text("\n".join([*lines["train"][:3], *lines["test"][3:]]) + "\n")
    with caplog.at_level(logging.WARNING):
        assert bench(*words(place, tmp_path / "runs", train__batch_size="500")) == 0
    record = record_of(only_run(tmp_path / "runs"))
    assert record.data["seen_queries"] == 3
    assert [w for w in record.training["warnings"] if w.startswith("3 of ") and SEEN in w]
    assert "train.batch_size=500 is more than all" in caplog.text and SEEN in caplog.text
    capsys.readouterr()
    assert bench("compare", "--runs-dir", str(tmp_path / "runs")) == 0
    assert SEEN in capsys.readouterr().out


def test_a_run_says_that_mining_left_it_few_steps(data: Path, tmp_path: Path) -> None:
    given = words(data, tmp_path / "runs", strategy="mined_hard", strategy__last="40", budget__texts="100")
    assert bench(*(word for word in given if not word.startswith("train.max_steps"))) == 0
    record = record_of(only_run(tmp_path / "runs"))
    assert [
        w
        for w in record.training["warnings"]
        if re.fullmatch(r"mining took \d+ % of the texts encoded; .* left: \d", w)
    ]
    budget = resolve(["budget.texts=1000"])
    assert [*mostly_mining(budget, 40, 900, 100)] == [] and len([*mostly_mining(budget, 40, 100, 100)]) == 1
    assert [*mostly_mining(resolve([]), 40, 100, 100)] == [], "mining takes no steps away"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["train.batch_size=64"], "train.batch_size=64 is more than all 40 pairs: a step has 40"),
        (["train.epochs=3", "budget.steps=9"], "train.epochs=3 has no effect: the budget ends training"),
        (
            ["strategy=simcse+mnr", "train.epochs=3", "train.stage_steps=[4,5]"],
            "train.epochs=3 has no effect: train.stage_steps end training",
        ),
        (["strategy=simcse", "train.batch_size=64"], ""),
        (["train.epochs=3"], ""),
        (["train.batch_size=40"], ""),
    ],
)
def test_settings_of_training_without_effect_are_told(given: list[str], told: str) -> None:
    data = leaking(0)
    pairs = Ragged.of([[0]] * 40)
    data = replace(data, splits={**data.splits, "train": Split(data.splits["train"].queries[:40], pairs)})
    assert [*doubts(data, "test", 0, resolve(given))] == ([told] if told else [])


@pytest.mark.parametrize(
    ("settings", "every", "told"),
    [
        ({"patience": 4, "warmup": 0.1}, 100, "the warm-up has 400 steps, train.warmup=0.1 of all 4,000"),
        ({"patience": 4, "warmup": 50}, 100, ""),
        ({"patience": 5, "warmup": 0.1}, 100, ""),
        ({"warmup": 0.1}, 100, ""),
        ({"warmup": 4000}, 0, "train.warmup=4000 is all of the 4,000 steps: the rate never reaches train.lr"),
    ],
)
def test_a_warm_up_within_which_training_can_end_is_told(settings: dict[str, Any], every: int, told: str) -> None:
    found = [*length(TrainConfig(**settings), Plan("steps", 4000), every)]
    assert [told in said for said in found] == ([True] if told else [])


def test_weights_from_within_the_warm_up_are_told() -> None:
    config, ends = TrainConfig(warmup=0.1), Plan("steps", 4000)
    (said,) = rising(config, ends, Progress(step=900, best_step=399))
    assert said.startswith("the weights of step 399 did best on dev, while the rate still rose: the warm-up has 400")
    for done in (Progress(step=900, best_step=400), Progress(step=300)):
        assert [*rising(config, ends, done)] == []


def test_a_comparison_says_which_rows_of_one_budget_of_texts_had_few_steps() -> None:
    runs = Runs({"mnr": 0.5, "mined_hard": 0.5, "bm25_hard": 0.5})
    few = {"mined_hard": (2, 3600.0), "bm25_hard": (3, 0.0), "mnr": (100, 0.0)}

    def with_steps(record: Record, budget: dict[str, Any]) -> Record:
        steps, mined = few[record.strategy]
        cost = {"texts_encoded": 4000.0, "mine_texts": mined}
        return replace(record, selection={"steps": steps}, cost=cost, config={**record.config, **budget})

    whole, given = runs.records, {"budget": {"texts": 4000}}
    runs.records = [with_steps(record, given) for record in whole]
    (note,) = (note for note in runs.compare().notes if "steps" in note)
    few_rows = "mined_hard (2, 90 % of the texts for mining), bm25_hard (3)"
    assert note == f"fewer than half as many steps as mnr (100): {few_rows}"
    runs.records = [with_steps(record, {}) for record in whole]
    assert not [note for note in runs.compare(allowed=["budget"]).notes if "steps" in note], "dev or epochs ended them"


def test_a_comparison_says_where_every_step_has_all_pairs_and_where_variances_are_equal() -> None:
    counts = {"name": "faq", "fingerprint": "f00d", "counts": {"train_pairs": 20}}
    runs = Runs({"mnr": 0.5, "mined_hard": 0.5}, data=counts)
    runs.values = dict.fromkeys(runs.values, runs.values[runs.records[0].run_id])
    level = float(next(iter(runs.values.values())).mean())
    runs.records = [replace(r, metrics={"recall@1": level}) for r in runs.records]
    notes = runs.compare().notes
    assert "every step has all training pairs, because train.batch_size is larger: mined_hard, mnr" in notes
    assert [note for note in notes if note.startswith("variances over seeds are equal, or nearly so, in all rows.")]
    unlabelled = {"texts_encoded": 6400.0, "examples": 3200.0}  # 100 steps of 32, of a corpus and not of the pairs
    runs.records = [replace(r, cost=unlabelled) for r in runs.records]
    assert not [note for note in runs.compare().notes if "every step" in note]
    small = {"name": "faq", "fingerprint": "f00d", "counts": {"train_pairs": 2000}}
    assert not [note for note in Runs({"mnr": 0.5}, data=small).compare().notes if "every step" in note]
