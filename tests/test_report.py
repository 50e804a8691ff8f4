"""A report says what the records say: every number has its runs, and what differs is on the row."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.compare.cells import differences
from bench.errors import UserError
from bench.record.record import Record
from reports.documented import Documented, documented
from reports.markdown import pipe_table, render
from reports.table import UNTRAINED, summarise
from strategies import registered

KS = (1, 5, 10, 20, 50)


def record(
    strategy: str = "in_batch",
    seed: int = 1,
    *,
    recall: float = 50.0,
    data: str = "quora",
    encoder: dict[str, Any] | None = None,
    train: dict[str, Any] | None = None,
    split: str = "dev",
    untrained: float | None = 20.0,
    **changes: Any,
) -> Record:
    knobs = changes.pop("knobs", {"margin": 0.2, "scale": 30.0})
    encoder = encoder or {"name": "minilm", "pooling": "mean"}
    names = [*(f"recall@{k}" for k in KS), "mrr@10", "ndcg@10"]
    metrics = {f"{of}{name}": recall for name in names for of in ("", "exact/", "dev_hard/")}
    config = {
        "strategy": {"name": strategy, **knobs},
        "data": {"name": data},
        "encoder": encoder,
        "train": {"epochs": 1, **(train or {})},
        "eval": {"untrained": untrained is not None},
        "seed": seed,
    }
    fields: dict[str, Any] = {
        "run_id": f"{strategy}-{seed}",
        "strategy": strategy,
        "knobs": knobs,
        "data": {"name": data, "fingerprint": f"fingerprint of {data}", "counts": {}},
        "encoder": encoder,
        "seed": seed,
        "status": "finished",
        "command": f"bench run strategy={strategy} seed={seed}",
        "config": config,
        "split": split,
        "started": "2025-01-01T00:00:00+00:00",
        "metrics": metrics,
        "baseline_metrics": None if untrained is None else dict.fromkeys(metrics, untrained),
        "cost": {"train_s": 10.0 * seed, "pairs_per_s": 1234.5, "mine_s": None},
        "environment": {"device": "cpu"},
    }
    return Record(**{**fields, **changes})


def trained(records: list[Record]) -> Any:
    table = summarise(records)
    return table[table["strategy"] != UNTRAINED]


def tables(text: str) -> list[list[list[str]]]:
    """The pipe tables of a Markdown text: rows of cells."""
    found: list[list[list[str]]] = []
    inside = False
    for line in text.splitlines():
        if line.startswith("|"):
            if not inside:
                found.append([])
            found[-1].append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        inside = line.startswith("|")
    return found


# The table


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 100), min_size=1, max_size=8))
def test_a_row_is_the_mean_and_spread_of_its_seeds(recalls: list[float]) -> None:
    table = trained([record(seed=seed, recall=value) for seed, value in enumerate(recalls)])
    (row,) = (row for _, row in table.iterrows())
    assert row["n"] == len(recalls) and row["seeds"] == tuple(range(len(recalls)))
    assert row["recall@10"] == pytest.approx(np.mean(recalls), abs=1e-9)
    if len(recalls) == 1:
        assert "recall@10 sd" not in table or np.isnan(row["recall@10 sd"] or np.nan)
    else:
        assert row["recall@10 sd"] == pytest.approx(np.std(recalls, ddof=1), abs=1e-6)
    assert row["cost/train_s"] == pytest.approx(np.mean([10.0 * seed for seed in range(len(recalls))]))


CHANGES: dict[str, dict[str, Any]] = {
    "knobs": {"knobs": {"margin": 0.1, "scale": 30.0}},
    "budget": {"train": {"epochs": 2}},
    "a setting only one of them has": {"train": {"max_steps": 5}},
    "data": {"data": "lcqmc"},
    "texts": {"data": "quora", "changed": "fingerprint"},
    "encoder": {"encoder": {"name": "other", "pooling": "mean"}},
    "pooling": {"encoder": {"name": "minilm", "pooling": "cls"}},
    "split": {"split": "test"},
}


@pytest.mark.parametrize("what", CHANGES)
def test_runs_that_differ_are_never_one_row_and_say_so(what: str) -> None:
    changes = dict(CHANGES[what])
    if changes.pop("changed", None):
        other = record(seed=2, **changes)
        other = Record(**{**vars(other), "data": {**other.data, "fingerprint": "other texts"}})
    else:
        other = record(seed=2, **changes)
    table = trained([record(), other])
    assert list(table["n"]) == [1, 1]
    told = table[["section", "strategy", "setting"]].drop_duplicates()
    assert len(told) == 2
    headings = re.findall(r"^## (?!Documented).+$", render([record(), other], []), re.MULTILINE)
    if what in ("data", "encoder", "pooling", "split"):
        assert len(set(headings)) == 2
    elif what != "texts":
        assert len(headings) == 1 and any(table["setting"])


def test_what_cannot_change_a_metric_does_not_split_a_row() -> None:
    one = record(seed=1, train={"save_every": 5, "log_every": 1})
    other = record(seed=2, train={"save_every": 9, "log_every": 2}, untrained=None)
    assert list(trained([one, other])["n"]) == [2]


def test_a_repeated_seed_is_not_another_sample() -> None:
    early = record(recall=10.0, finished="2025-01-01T00:00:00+00:00")
    late = record(recall=30.0, finished="2025-01-02T00:00:00+00:00")
    for runs in ([early, late], [late, early]):
        (row,) = (row for _, row in trained(runs).iterrows())
        assert (row["n"], row["recall@1"]) == (1, 30.0)


def test_a_metric_that_a_seed_lacks_has_no_mean() -> None:
    whole, torn = record(seed=1), record(seed=2)
    torn = Record(**{**vars(torn), "metrics": {**torn.metrics, "recall@5": None}})
    (row,) = (row for _, row in trained([whole, torn]).iterrows())
    assert np.isnan(row["recall@5"] or np.nan) and row["recall@1"] == 50.0
    main = tables(render([whole, torn], []))[0]
    assert main[-1][main[0].index("R@5")] == ""


def test_untrained_comes_first_and_once_for_each_start() -> None:
    runs = [record(name, seed) for name in ("b", "a") for seed in (2, 1)]
    table = summarise(runs)
    assert list(table["strategy"]) == [UNTRAINED, "a", "b"]
    assert (table.loc[0, "n"], table.loc[0, "recall@1"]) == (2, 20.0)
    further = record("a", train={"init_from": "some-run"}, untrained=45.0)
    starts = summarise([*runs, further])
    starts = starts[starts["strategy"] == UNTRAINED]
    assert dict(zip(starts["setting"], starts["recall@1"], strict=True)) == {"": 20.0, "init_from=some-run": 45.0}
    assert UNTRAINED not in list(summarise([record(untrained=None)])["strategy"])


def test_differences_keep_what_tells_apart_and_nothing_else() -> None:
    trees: list[dict[str, object]] = [
        {"train.steps": 5, "lr": 1e-05, "eval.k": 1, "index.k": 1, "same": 1, "flag": True},
        {"train.steps": 9, "lr": 2e-05, "eval.k": 2, "index.k": 1, "same": 1.0, "flag": None},
        {"train.steps": 9, "lr": 2e-05, "eval.k": 2, "index.k": 3, "same": 1},
    ]
    assert differences(trees) == [
        "steps=5 lr=1e-05 eval.k=1 index.k=1 flag=true",
        "steps=9 lr=2e-05 eval.k=2 index.k=1 flag=null",
        "steps=9 lr=2e-05 eval.k=2 index.k=3",
    ]
    assert differences([{"a": 1}]) == [""]


# The text


def several() -> list[Record]:
    """Two strategies, three seeds of one of them, two encoders, knobs that differ; every number another."""
    numbers = random.Random(0)
    runs = [record("in_batch", seed, recall=numbers.uniform(0, 100)) for seed in (1, 2, 3)]
    runs.append(record("in_batch", 1, recall=numbers.uniform(0, 100), knobs={"margin": 0.1, "scale": 30.0}))
    runs.append(record("mnr", 1, recall=numbers.uniform(0, 100), knobs={"scale": 20.0}))
    runs.append(record("mnr", 1, recall=numbers.uniform(0, 100), encoder={"name": "ernie"}, untrained=None))
    return runs


def test_the_order_of_records_does_not_matter() -> None:
    runs = several()
    text = render(runs, [])
    for order in range(5):
        shuffled = random.Random(order).sample(runs, len(runs))
        assert render(shuffled, []) == text


def test_the_main_table_holds_each_mean_with_its_seeds() -> None:
    runs = several()
    main, parts, cost, other_encoder, *_ = tables(render(runs, []))
    seeds = [run.metrics["recall@1"] or 0 for run in runs[:3]]
    assert main[0] == [
        *("strategy", "n", "R@1", "R@5", "R@10", "R@20", "R@50", "MRR@10", "nDCG@10"),
        *("exact R@1", "exact R@10"),
    ]
    mean, spread = f"{np.mean(seeds):.2f}", f"{np.std(seeds, ddof=1):.2f}"
    assert [row[:3] for row in main[2:]] == [
        ["untrained", "n=3", "20.00±0.00"],
        ["in_batch margin=0.1", "n=1", f"{runs[3].metrics['recall@1']:.2f}"],
        ["in_batch margin=0.2", "n=3", f"{mean}±{spread}"],
        ["mnr", "n=1", f"{runs[4].metrics['recall@1']:.2f}"],
    ]
    assert main[4][-2:] == [mean, mean]
    assert parts[0][1:3] == ["dev R@1", "dev_hard R@1"]
    assert [row[0] for row in cost[2:]] == ["in_batch margin=0.1", "in_batch margin=0.2", "mnr"]
    assert [row[0] for row in other_encoder[2:]] == ["mnr"]


def test_every_table_is_a_table_and_fits_the_page() -> None:
    runs = [record("in_batch"), record("hardest_neg", knobs={"margin": 0.2, "positive": "own|x"})]
    for rows in tables(render(runs, [])):
        assert len({len(row) for row in rows}) == 1
        assert all(re.fullmatch("-+:?", cell) for cell in rows[1])
    assert max(map(len, render(runs, [], []).splitlines())) <= 120


def test_a_bar_in_a_cell_does_not_end_it() -> None:
    assert tables(pipe_table(["a", "b"], [["x|y", "1"]])) == [[["a", "b"], ["----", "--:"], ["x\\|y", "1"]]]


def test_every_run_can_be_repeated_from_the_report() -> None:
    text = render(several(), [])
    commands = re.findall(r"^bench run .+$", text, re.MULTILINE)
    assert sorted(set(commands)) == sorted({run.command for run in several()})


def test_records_left_out_are_named() -> None:
    text = render([record()], [(Path("runs/x/record.json"), "half-written record")])
    assert text.index("Records left out") > text.index("Documented rows")
    assert "- `runs/x/record.json`: half-written record" in text
    assert "left out" not in render([record()], [])


def test_no_records_is_said() -> None:
    assert "There is no finished run." in render([], [])


def test_costs_of_two_machines_are_told_apart() -> None:
    text = render([record("mnr"), record("in_batch", environment={"device": "H100"})], [])
    cost = tables(text)[2]
    assert [row[:2] for row in cost[2:]] == [["in_batch", "H100"], ["mnr", "cpu"]]


# Published rows


def test_published_rows_are_whole_counts_of_their_queries() -> None:
    """19,939 and 10,254 queries: with no other number can all the printed shares be counts."""
    for row in documented():
        queries, digits = {"literature_search": (19939, 3), "semantic_indexing": (10254, 2)}[row.data]
        for name, value in row.metrics.items():
            hits = round(value * queries / 100)
            assert round(100 * hits / queries, digits) == value, (row.id, name)
        recalls = [value for _, value in sorted(row.metrics.items(), key=lambda m: int(m[0][7:]))]
        assert recalls == sorted(recalls)


def test_published_rows_name_strategies_that_are_here() -> None:
    found = documented()
    assert {row.strategy for row in found} - {None} <= set(registered())
    assert {"in_batch", "hardest_neg"} <= {row.strategy for row in found}
    assert all(row.source and row.caveats and row.label for row in found)


def published(data: str, backbone: str | None) -> Documented:
    return Documented("id", "In-batch", "in_batch", data, backbone, {"recall@1": 51.301}, "a page", {}, ("Beware.",))


@pytest.mark.parametrize(
    ("data", "backbone", "verdict"),
    [
        ("quora", "minilm", "yes"),
        ("quora", "ernie", "no: other backbone"),
        ("quora", None, "no: other backbone"),
        ("lcqmc", "minilm", "no: other data"),
        ("lcqmc", "ernie", "no: other data and backbone"),
    ],
)
def test_a_published_row_says_whether_it_can_be_compared(data: str, backbone: str | None, verdict: str) -> None:
    text = render([record()], [], [published(data, backbone)])
    row = tables(text)[-1][-1]
    assert row == ["In-batch", backbone or "not stated", "51.30", verdict]
    assert "Beware." in text


def test_published_rows_inherit_from_their_file_and_have_their_own(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "data: d\nsource: s\nsettings: {lr: 1, bs: 2}\ncaveats: [shared]\nrows:\n"
        "  - {id: x, label: X, strategy: null, backbone: b, metrics: {recall@1: 5}}\n"
        "  - {id: y, label: Y, strategy: mnr, backbone: b, metrics: {}, source: t, settings: {lr: 3}, caveats: [own]}\n"
    )
    x, y = documented(tmp_path)
    assert (x.source, x.settings, x.caveats) == ("s", {"lr": 1, "bs": 2}, ("shared",))
    assert (y.source, y.settings, y.caveats) == ("t", {"lr": 3, "bs": 2}, ("shared", "own"))


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ("[{id: x, label: X}]", r"a\.yaml: row x: .*missing"),
        ("[{id: x, colour: red}]", r"a\.yaml: row x: .*colour"),
        (
            "[{id: x, label: X, strategy: m, backbone: b, metrics: {recall@1: 700}}]",
            "row x: recall@1=700 is not a perc",
        ),
        ("[{id: x, label: X, strategy: m, backbone: b, metrics: {}}, {id: x", "not YAML"),
    ],
)
def test_a_broken_published_row_is_told_with_its_place(tmp_path: Path, rows: str, told: str) -> None:
    (tmp_path / "a.yaml").write_text(f"data: d\nsource: s\nrows: {rows}\n")
    with pytest.raises(UserError, match=told):
        documented(tmp_path)
