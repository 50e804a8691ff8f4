"""Comparisons of records: what belongs together, what may not be compared, who is best, and the command."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tiny import bench

from bench.compare.cells import cells
from bench.compare.comparison import Comparison, compare
from bench.compare.fair import refuse_unfair
from bench.compare.select import select
from bench.compare.statistics import Values
from bench.errors import UserError
from bench.record.record import Record
from bench.record.store import RunDirectory

QUERIES = 300


def run(strategy: str, seed: int, **changes: Any) -> Record:
    knobs = changes.pop("knobs", {"scale": 20.0})
    train = {"batch_size": 32, "max_steps": 100, "init_from": None, **changes.pop("train", {})}
    config = {
        "strategy": {"name": strategy, **knobs},
        "data": {"name": "../data/faq"},
        "train": train,
        "eval": {"retrieve": 50},
        "seed": seed,
    }
    fields: dict[str, Any] = {
        "run_id": f"{strategy}-{seed}-{abs(hash(str(sorted(changes.items())) + str(knobs))) % 997}",
        "strategy": strategy,
        "knobs": knobs,
        "data": {"name": "faq", "fingerprint": "f00d", "counts": {}},
        "encoder": {"name": "minilm-l3"},
        "seed": seed,
        "status": "finished",
        "command": f"bench run strategy={strategy} seed={seed}",
        "config": config,
        "split": "test",
        "started": "2026-01-01T00:00:00+00:00",
        "finished": "2026-01-01T00:01:00+00:00",
        "selection": {"steps": 100},
        "cost": {"train_s": 10.0, "mine_s": 0.0, "texts_encoded": 6400.0, "peak_memory_mb": 500.0},
        "baseline_metrics": {"recall@1": 20.0},
    }
    return Record(**{**fields, **changes})


class Runs:
    """Records with per-query values of recall@1, drawn around a level for each strategy."""

    def __init__(self, levels: dict[str, float], seeds: Sequence[int] = (1, 2, 3)) -> None:
        rng = np.random.default_rng(0)
        difficulty = rng.random(QUERIES)
        self.values: dict[str, Values] = {}
        self.records = []
        for strategy, level in levels.items():
            for seed in seeds:
                hit = (difficulty + rng.normal(0, 0.1, QUERIES) < level) * 100.0
                metrics = {"recall@1": float(hit.mean()), "exact/recall@1": float(hit.mean()) + 1}
                self.records.append(run(strategy, seed, metrics=metrics))
                self.values[self.records[-1].run_id] = hit

    def per_query(self, record: Record, metric: str) -> tuple[Values, Values]:
        return np.arange(QUERIES), self.values[record.run_id]

    def compare(self, **options: Any) -> Comparison:
        return compare(self.records, self.per_query, resamples=1000, **options)


def test_the_best_is_named_only_when_it_beats_every_other_for_real() -> None:
    clear = Runs({"mnr": 0.5, "mined_hard": 0.7}).compare()
    assert [row.cell.strategy for row in clear.rows] == ["mined_hard", "mnr"]
    assert clear.best == 0
    assert [row.letters for row in clear.rows] == ["a", "b"]
    close = Runs({"mnr": 0.5, "mined_hard": 0.7, "in_batch": 0.7}).compare()
    assert close.best is None
    assert {row.cell.strategy: row.letters for row in close.rows} == {"mined_hard": "a", "in_batch": "a", "mnr": "b"}


def test_a_row_of_one_seed_never_wins_and_is_not_tested() -> None:
    runs = Runs({"mnr": 0.5, "in_batch": 0.4})
    lucky = run("triplet", 1, metrics={"recall@1": 99.0})
    runs.records.append(lucky)
    found = runs.compare()
    assert found.rows[-1].cell.strategy == "triplet", "however high it stands"
    assert found.rows[-1].metrics["recall@1"].low is None
    assert found.rows[-1].letters == ""
    assert found.best is None
    assert {row for pair in found.pairs for row in (pair.first, pair.second)} == {0, 1}
    assert any("n=1" in note and "triplet" in note for note in found.notes)


def test_other_queries_cannot_be_paired() -> None:
    runs = Runs({"mnr": 0.5, "mined_hard": 0.7})
    shift = iter(range(100))
    found = compare(runs.records, lambda record, metric: (np.arange(QUERIES) + next(shift), runs.values[record.run_id]))
    assert (found.pairs, found.best) == ((), None)
    assert any("not asked the same queries" in note for note in found.notes)


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
def test_what_differs_is_refused_with_the_reason_or_told(aspect: str, changes: dict[str, Any]) -> None:
    pair = cells([run("mnr", 1), run("in_batch", 1, **changes)])
    with pytest.raises(UserError, match=rf"differ in {aspect}") as refused:
        refuse_unfair(pair, [])
    assert f"--allow {aspect}" in str(refused.value) and "mnr" in str(refused.value)
    (note,) = refuse_unfair(pair, [aspect])
    assert note.startswith(f"{aspect} differs")


def test_the_same_budget_may_come_from_other_steps() -> None:
    half = run("in_batch", 1, selection={"steps": 50}, train={"batch_size": 64})
    assert refuse_unfair(cells([run("mnr", 1), half]), []) == []


def test_knobs_tell_cells_of_one_strategy_apart_and_repetitions_are_no_seeds() -> None:
    again = replace(run("mnr", 1), finished="2026-01-02T00:00:00+00:00", run_id="later")
    found = cells([run("mnr", 1), run("mnr", 2), again, run("mnr", 1, knobs={"scale": 5.0})])
    assert [(cell.label, cell.seeds) for cell in found] == [("mnr scale=20", (1, 2)), ("mnr scale=5", (1,))]
    assert found[0].records[0].run_id == "later"


def test_records_are_chosen_by_any_setting() -> None:
    records = [run("mnr", 1), run("in_batch", 2), run("mnr", 3, knobs={"scale": 5.0})]
    assert [r.seed for r in select(records, ["strategy=mnr"])] == [1, 3]
    assert [r.seed for r in select(records, ["strategy=mnr,in_batch", "seed=1,2"])] == [1, 2]
    assert [r.seed for r in select(records, ["strategy.scale=5"])] == [3]
    assert [r.seed for r in select(records, ["strategy.scale=5e0"])] == [3]
    assert select(records, ["data=faq"]) == select(records, ["data=../data/faq"]) == records
    for words, message in (
        (["stratgy=mnr"], "'stratgy'.*strategy"),
        (["mnr"], "not key=value"),
        (["strategy=triplet"], "no record has strategy=triplet; there is in_batch, mnr"),
    ):
        with pytest.raises(UserError, match=message):
            select(records, words)


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    runs = Runs({"mnr": 0.5, "mined_hard": 0.7, "in_batch": 0.7})
    for record in runs.records:
        with RunDirectory.open(tmp_path, record.run_id) as directory:
            values = runs.values[record.run_id]
            directory.write_ranks(pd.DataFrame({"query": np.arange(QUERIES), "recall@1": values}))
            directory.write_record(record)
    return tmp_path


def test_the_command_says_who_is_how_good_how_sure_and_at_what_price(
    runs_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench("compare", "--runs-dir", str(runs_dir)) == 0
    out = capsys.readouterr().out
    assert "**" not in out
    first = [[cell.strip() for cell in line.split("|")] for line in out.splitlines()[4:7]]
    assert {cells[1]: cells[6] for cells in first} == {"mined_hard": "a", "in_batch": "a", "mnr": "b"}
    assert "| texts |" in out and "points per 10,000 texts" in out
    for title in ("### Against the first row", "the index beside exact search", "### Every metric"):
        assert title in out
    assert bench("compare", "strategy=mnr,mined_hard", "--runs-dir", str(runs_dir), "--every-pair") == 0
    out = capsys.readouterr().out
    assert "**" in out and "### Every pair" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--metric", "recall@7"], "has no metric 'recall@7'; there is exact/recall@1, recall@1"),
        (["--allow", "colour"], "only data, encoder, evaluation, budget"),
        (["data=other"], "no record has data=other"),
    ],
)
def test_the_command_refuses_in_one_line(
    runs_dir: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import re

    assert bench("compare", *words, "--runs-dir", str(runs_dir)) == 2
    err = capsys.readouterr().err
    assert re.search(message, err), err
    assert "Traceback" not in err


def test_a_row_without_its_ranks_is_told_and_not_tested(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gone = next(iter(runs_dir.glob("mnr*/ranks.parquet")))
    gone.unlink()
    assert bench("compare", "--runs-dir", str(runs_dir)) == 0
    out = capsys.readouterr().out
    assert f"mnr is not tested: {gone} is missing" in out
    assert "| mined_hard | in_batch" in out


def test_a_metric_that_single_queries_do_not_have_cannot_be_tested(
    runs_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench("compare", "--metric", "exact/recall@1", "--runs-dir", str(runs_dir)) == 0
    assert "nothing is tested" in capsys.readouterr().out
