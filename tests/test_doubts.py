"""What makes a result doubtful is told where it is made and where it is compared."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from records import Runs
from tiny import bench
from tiny_runs import only_run, record_of, words
from toys import toy_data

from bench.config.overrides import resolve
from bench.data.dataset import DataSet, Ragged, Split
from bench.run.doubts import doubts, mostly_mining, seen_queries
from bench.train.budget import Plan
from bench.train.config import TrainConfig
from bench.train.diagnostics import without_effect

SEEN = "test queries are also train queries"


def leaking(shared: int, queries: int = 60) -> DataSet:
    """Toy data of which ``shared`` of the test queries are train queries too."""
    data = toy_data(topics=120)
    train, dev = data.splits["train"], data.splits["dev"]
    asked = np.concatenate([train.queries[:shared], dev.queries[: queries - shared]])
    return replace(data, splits={"train": train, "test": Split(asked, Ragged.of([[0]] * queries))})


def test_measured_queries_that_are_trained_on_are_counted() -> None:
    data, config = leaking(7), resolve(["train.eval_every=0"])
    assert seen_queries(data, "test") == 7 and seen_queries(leaking(0), "test") == 0
    (said,) = doubts(data, "test", config)
    assert said.startswith(f"7 of 60 {SEEN}")
    assert [*doubts(leaking(0), "test", config)] == []
    assert [*doubts(data, "test", resolve(["train.epochs=0"]))] == [], "nothing is trained on"


def test_too_few_queries_to_measure_or_to_select_by_are_told() -> None:
    data = leaking(0, queries=8)
    data = replace(data, splits={**data.splits, "dev": data.splits["test"]})
    both = [*doubts(data, "test", resolve([]))]
    assert both == [
        "test has only 8 queries, so its metrics vary much by chance",
        "dev has only 8 queries, so which weights it selects is partly chance",
    ]
    assert [*doubts(data, "test", resolve(["train.eval_every=0"]))] == both[:1]


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
    assert [*mostly_mining(40, 900, 100)] == [] and len([*mostly_mining(40, 100, 100)]) == 1


@pytest.mark.parametrize(
    ("settings", "planned", "told"),
    [
        ({"batch_size": 64}, False, "train.batch_size=64 is more than all 40 pairs: a step has 40"),
        ({"epochs": 3}, True, "train.epochs=3 has no effect: the budget or train.stage_steps ends training"),
        ({"epochs": 3}, False, ""),
        ({"batch_size": 40}, False, ""),
    ],
)
def test_settings_of_the_length_of_training_without_effect_are_told(
    settings: dict[str, int], planned: bool, told: str
) -> None:
    plan = Plan("steps", 10)
    found = [*without_effect(TrainConfig(**settings), plan if planned else None, plan, pairs=40, every=0)]
    assert found == ([told] if told else [])


def test_a_comparison_says_which_rows_had_few_steps_and_why() -> None:
    runs = Runs({"mnr": 0.5, "mined_hard": 0.5})
    few = {"selection": {"steps": 2}, "cost": {"texts_encoded": 4000.0, "mine_texts": 3600.0}}
    runs.records = [replace(r, **(few if r.strategy == "mined_hard" else {})) for r in runs.records]
    (note,) = (note for note in runs.compare(allowed=["budget"]).notes if "steps" in note)
    told = "mining left few steps of training, where another row has 100"
    assert note == f"{told}: mined_hard (2 steps; 90 % of its texts were for mining)"
    assert not [note for note in Runs({"mnr": 0.5, "mined_hard": 0.5}).compare().notes if "steps" in note]


def test_a_comparison_says_where_every_step_has_all_pairs_and_where_variances_are_equal() -> None:
    counts = {"name": "faq", "fingerprint": "f00d", "counts": {"train_pairs": 20}}
    runs = Runs({"mnr": 0.5, "mined_hard": 0.5}, data=counts)
    runs.values = dict.fromkeys(runs.values, runs.values[runs.records[0].run_id])
    level = float(next(iter(runs.values.values())).mean())
    runs.records = [replace(r, metrics={"recall@1": level}) for r in runs.records]
    notes = runs.compare().notes
    assert "every step has all training pairs, because train.batch_size is larger: mined_hard, mnr" in notes
    assert [note for note in notes if note.startswith("variances over seeds are equal in all rows.")]
    small = {"name": "faq", "fingerprint": "f00d", "counts": {"train_pairs": 2000}}
    assert not [note for note in Runs({"mnr": 0.5}, data=small).compare().notes if "every step" in note]
