"""A report says what the records say: every number has its runs, what differs is apart, and nothing is invented."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from records import Runs, run
from tiny import bench

from bench.record.ledger import read
from bench.record.record import Record
from bench.record.store import RunDirectory
from reports import markdown
from reports.blocks import Block, Cell, Prose, Row, Section, Table, table
from reports.comparison import main
from reports.groups import groups
from reports.markdown import pipe_table
from reports.report import build, text
from reports.training import telemetry

LEVELS = {"mnr": 0.5, "mined_hard": 0.7, "in_batch": 0.7}


def tables(markdown: str) -> list[list[list[str]]]:
    """The pipe tables of a Markdown text: rows of cells."""
    found: list[list[list[str]]] = []
    inside = False
    for line in markdown.splitlines():
        if line.startswith("|"):
            if not inside:
                found.append([])
            found[-1].append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        inside = line.startswith("|")
    return found


def every(blocks: tuple[Block, ...] | list[Section], kind: type) -> list[Any]:
    """All blocks of a kind, at any depth."""
    found = [block for block in blocks if isinstance(block, kind)]
    return found + [b for block in blocks if isinstance(block, Section) for b in every(block.blocks, kind)]


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    return Runs(LEVELS).write(tmp_path / "runs")


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
    found = groups(records, tmp_path, "recall@1")
    assert [len(group.records) for group in found] == [1, 1]
    assert len({group.title for group in found}) == len({group.name for group in found}) == 2


def test_a_setting_makes_a_row_and_seeds_do_not(tmp_path: Path) -> None:
    metrics = {"recall@1": 50.0}
    records = [run("mnr", seed, metrics=metrics) for seed in (1, 2)]
    records += [run("mnr", seed, metrics=metrics, knobs={"scale": 5.0}) for seed in (1, 2)]
    (group,) = groups(records, tmp_path, "recall@1")
    assert [(row.cell.setting, row.cell.seeds) for row in group.comparison.rows] == [
        ("scale=20", (1, 2)),
        ("scale=5", (1, 2)),
    ]


def test_trials_of_a_search_are_told_as_a_study_and_not_as_results(
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
    (study / "study.json").write_text(json.dumps({**told, "schema": 0}))
    assert "is of another version" in " ".join(text(build(read(runs_dir), runs_dir)).split())
    assert bench("compare", "--runs-dir", str(runs_dir)) == 0
    told_apart = capsys.readouterr()
    assert "99.00" not in told_apart.out and "1 trials of studies' searches" in told_apart.err


def test_a_metric_that_a_part_lacks_is_replaced_by_one_it_has_and_said(tmp_path: Path) -> None:
    other = run("mnr", 1, metrics={"recall@3": 5.0, "recall@1": None}, split="dev")
    found = groups([run("mnr", 1, metrics={"recall@1": 5.0}), other], tmp_path, "recall@1")
    (part,) = (group.comparison for group in found if group.records == [other])
    assert part.metric == "recall@3" and "since not all of these runs have recall@1" in part.notes[0]


def test_a_metric_that_nobody_has_is_refused(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("report", "--runs-dir", str(runs_dir), "--metric", "recall@7") == 2
    assert "no run has the metric 'recall@7'; there is exact/recall@1, recall@1" in capsys.readouterr().err


def test_a_run_that_repeats_a_seed_is_left_out_and_counted(tmp_path: Path) -> None:
    metrics = {"recall@1": 50.0}
    twice = [run("mnr", 1, metrics=metrics), run("mnr", 1, metrics=metrics, run_id="again")]
    (group,) = groups(twice, tmp_path, "recall@1")
    assert "runs that repeat a seed of their row: 1" in group.comparison.notes[0]


# Numbers


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 100), min_size=1, max_size=6))
def test_a_row_is_the_mean_and_spread_of_its_seeds(recalls: list[float]) -> None:
    records = [run("mnr", seed, metrics={"recall@1": value}) for seed, value in enumerate(recalls)]
    (group,) = groups(records, Path("nowhere"), "recall@1")
    (row,) = main(group.comparison).rows
    shown = dict(zip(main(group.comparison).header, row.cells, strict=True))
    assert shown["recall@1"].value == pytest.approx(np.mean(recalls), abs=1e-9)
    assert shown["n"].text == f"n={len(recalls)}"
    if len(recalls) > 1:
        assert shown["sd"].value == pytest.approx(np.std(recalls, ddof=1), abs=1e-6)
    else:
        assert shown["sd"].text == shown["95 %"].text == ""


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


def test_telemetry_is_the_mean_over_seeds_of_what_all_told(tmp_path: Path) -> None:
    records = [
        run("mnr", seed, metrics={"recall@1": 1.0}, training={"telemetry": {"ibn/active": seed / 4, **more}})
        for seed, more in ((1, {"ibn/loss": 3.0}), (3, {}))
    ]
    (group,) = groups(records, tmp_path, "recall@1")
    assert telemetry(group.comparison.rows[0]) == {"active": 0.5}


# Text and page


def test_a_bar_in_a_cell_does_not_end_it() -> None:
    assert tables(pipe_table(["a", "b"], [["x|y", "1"]])) == [[["a", "b"], ["----", "--:"], ["x\\|y", "1"]]]


def test_every_table_is_a_table_and_prose_fits_the_page(runs_dir: Path) -> None:
    shown = text(build(read(runs_dir), runs_dir))
    for rows in tables(shown):
        assert len({len(row) for row in rows}) == 1
        assert all(re.fullmatch("-+:?", cell) for cell in rows[1])
    prose = [line for line in shown.splitlines() if not line.startswith(("|", "#", "!", "<", "bench"))]
    assert max(map(len, prose)) <= 120
    assert shown.count("<details>") == shown.count("</details>")


class Page(HTMLParser):
    """Open and closed tags, and what the page would fetch."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.words: list[str] = []
        self.pictures: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.fetched += [str(named[name]) for name in ("src", "href", "xlink:href") if named.get(name)]
        if tag == "svg" and named.get("role") == "img":
            self.pictures.append(named.get("aria-label") or "")
        if tag not in ("meta", "link", "br", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [str(value) for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_needs_nothing_else_and_every_picture_has_words(
    runs_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench("report", "--runs-dir", str(runs_dir), "--out", str(tmp_path / "out")) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "out" / "report.html")
    page = Page((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
    assert not page.open
    assert all(link.startswith(("#", "data:")) for link in page.fetched), page.fetched
    names = {path.stem for path in (tmp_path / "out" / "figures").glob("*.svg")}
    assert names == {path.stem for path in (tmp_path / "out" / "figures").glob("*.png")}
    assert len(page.pictures) == len(names) >= 4 and all(page.pictures)
    pictures = re.findall(r"!\[(.+?)\]\((.+?)\)", (tmp_path / "out" / "report.md").read_text())
    assert {Path(path).stem for _, path in pictures} == names
    assert all((tmp_path / "out" / path).is_file() for _, path in pictures)


def test_the_same_records_give_the_same_files(runs_dir: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert bench("report", "--runs-dir", str(runs_dir), "--out", str(tmp_path / name)) == 0
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert files and all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)


def test_marks_say_their_values(runs_dir: Path) -> None:
    report = build(read(runs_dir), runs_dir, figures=runs_dir / "figures")
    row = groups(read(runs_dir).records, runs_dir, "recall@1")[0].comparison.rows[0]
    hints = re.findall(r"<title>(.+?)</title>", report.pictures["faq-quality"])
    assert any(hint.startswith(f"{row.cell.label}: recall@1 {row.metrics['recall@1'].mean:.2f}, n=3") for hint in hints)


def test_what_a_person_named_cannot_break_the_page(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>`x`|y"
    changes = {"data": {"name": evil, "fingerprint": "f", "counts": {}}, "command": f"bench run data='{evil}' seed=1"}
    Runs({"mnr": 0.5, "in_batch": 0.6}, **changes).write(tmp_path / "runs")
    assert bench("report", "--runs-dir", str(tmp_path / "runs"), "--out", str(tmp_path / "out")) == 0
    page = Page((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
    assert not page.open and not any(path.name != path.name.strip("<>/") for path in (tmp_path / "out").rglob("*"))
    assert "<script>alert" not in (tmp_path / "out" / "report.html").read_text().replace("&lt;script&gt;", "")


def test_a_folded_part_and_commands_fold_in_markdown() -> None:
    inner = Table(("a",), (Row((Cell("x"),), ("bench run strategy=x",)),))
    shown = markdown.render([Section("T", (inner, Prose("`a` b")), folded=True)])
    assert shown.startswith("<details>\n<summary>T</summary>\n\n| a")
    assert "# x\nbench run strategy=x" in shown and shown.count("</details>") == 2


def test_an_empty_number_is_an_empty_cell() -> None:
    from reports.blocks import amount, number, share

    for maker in (number, amount, share):
        assert maker(None).text == maker(float("nan")).text == ""
    assert table(["a"], [["x"]]).rows[0].cells == (Cell("x"),)


# Records that cannot be used, and queries


def test_broken_records_are_named_and_the_rest_is_reported(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (runs_dir / "half").mkdir()
    (runs_dir / "half" / "record.json").write_text((next(runs_dir.glob("mnr*")) / "record.json").read_text()[:200])
    (next(runs_dir.glob("mnr*")) / "ranks.parquet").write_bytes(b"PAR1")
    assert bench("report", "--runs-dir", str(runs_dir)) == 0
    shown = capsys.readouterr().out
    assert "half/record.json`: broken or half-written record" in re.sub(r"\s+", " ", shown)
    assert "mnr is not tested" in shown and "mined_hard" in shown


@pytest.mark.parametrize("text_", ['[{"row": "x"}, 5]', "[1, 2]", '{"a": 1}', "null", "[", '[{"row": 1, "query": 5}]'])
def test_files_of_another_shape_are_told_and_the_rest_is_reported(
    runs_dir: Path, text_: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for place in runs_dir.glob("*"):
        (place / "hardest.json").write_text(text_)
        (place / "history.jsonl").write_text("5\n")
    assert bench("report", "--runs-dir", str(runs_dir)) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "hardest.json is broken" in shown and "history.jsonl` is broken" in shown and "| mined_hard" in shown


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("training", "telemetry"), 5),
        (("training", "telemetry"), {"active": None}),
        (("data", "fingerprint"), None),
        (("environment", "packages"), None),
    ],
)
def test_a_record_of_odd_values_stops_nothing(
    runs_dir: Path, path: tuple[str, str], value: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    file = next(runs_dir.glob("mnr*")) / "record.json"
    told = json.loads(file.read_text())
    told[path[0]][path[1]] = value
    file.write_text(json.dumps(told))
    assert bench("report", "--runs-dir", str(runs_dir)) == 0
    assert "| mined_hard" in capsys.readouterr().out


def test_markup_in_a_text_is_none_in_markdown() -> None:
    evil = "a</details><img src=x>`<b>`"
    shown = markdown.render([Section(evil, (Prose(evil), table(["t"], [[evil]])))])
    assert "</details>" not in shown and "<img" not in shown and shown.count("`<b>`") == 3


def test_settings_stand_with_what_is_equal(runs_dir: Path) -> None:
    shown = " ".join(text(build(read(runs_dir), runs_dir)).split())
    equal = shown[shown.index("Equal in all rows:") :].partition(". ")[0]
    for told in ("encoder.name=minilm-l3", "eval.retrieve=50", "train.batch_size=32", "train.max_steps=100"):
        assert told in equal
    assert re.search(r"\| mnr +\| scale=20 +\|", shown)


def test_a_directory_without_a_finished_run_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("report", "--runs-dir", str(tmp_path)) == 2
    assert "holds no finished run" in capsys.readouterr().err


def test_the_hardest_queries_stand_with_what_was_retrieved(runs_dir: Path) -> None:
    first = groups(read(runs_dir).records, runs_dir, "recall@1")[0].comparison.rows[0].cell.records[0]
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
    assert (query.text, labelled.text, rank.text) == ("who?", "him", "beyond")
    assert came.text.endswith("…") and came.hint == ("somebody " * 50).strip()
    assert others.text in ("0%", "50%", "100%")


def test_records_of_another_time_are_read_as_well(tmp_path: Path) -> None:
    """No history, no telemetry, no cost, no untrained evaluation: the report is shorter, and there."""
    bare: list[Record] = [
        run(name, 1, metrics={"recall@1": 5.0}, cost={}, baseline_metrics=None, selection={}) for name in LEVELS
    ]
    for record in bare:
        with RunDirectory.open(tmp_path, record.run_id) as directory:
            directory.write_record(record)
    assert "mined_hard" in text(build(read(tmp_path), tmp_path))


def test_many_records_take_no_time(tmp_path: Path) -> None:
    """2,000 of them within ten seconds of the processor, as text."""
    from time import process_time

    one = Runs({f"strategy_{n}": 0.3 + n / 50 for n in range(20)}, seeds=range(20)).write(tmp_path / "one")
    for place in one.iterdir():
        told = json.loads((place / "record.json").read_text())
        for n in range(5):
            twin = tmp_path / "runs" / f"{n}-{place.name}"
            twin.mkdir(parents=True)
            changed = {"run_id": twin.name, "data": {**told["data"], "name": f"data_{n}", "fingerprint": f"{n}"}}
            (twin / "record.json").write_text(json.dumps({**told, **changed}))
            (twin / "ranks.parquet").hardlink_to(place / "ranks.parquet")
    began = process_time()
    ledger = read(tmp_path / "runs")
    report = build(ledger, tmp_path / "runs")
    assert len(ledger.records) == 2000 and len(text(report)) > 10_000
    assert process_time() - began < 10


def test_a_long_setting_does_not_break_a_figure(tmp_path: Path) -> None:
    knobs = {f"a_rather_long_name_{n}": 0.123456789 for n in range(9)}
    other = dict.fromkeys(knobs, 1.0)
    runs = Runs({"mnr": 0.5, "in_batch": 0.6}, knobs=knobs)
    runs.records += Runs({"mnr": 0.5}, knobs=other, run_id="x").records[:1]
    for record in runs.records:
        with RunDirectory.open(tmp_path, record.run_id) as directory:
            directory.write_record(record)
    report = build(read(tmp_path), tmp_path, figures=tmp_path / "figures")
    assert "…" in report.pictures["faq-quality"]
