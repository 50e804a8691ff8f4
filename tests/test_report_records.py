"""Reports of records that are broken, odd, few or many: told, and the rest is reported."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from records import LEVELS, Runs, run
from tiny import bench

from bench.record.ledger import read
from bench.record.record import Record
from bench.record.store import RunDirectory
from reports.parts import parts
from reports.report import build, text, write


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
    assert "hardest.json: " in shown and "history.jsonl:1`: " in shown and "| mined_hard" in shown


@pytest.mark.parametrize("text_", ["[]", '{"schema": 1}', "null", "{"])
def test_a_study_of_another_shape_is_told(runs_dir: Path, text_: str) -> None:
    place = runs_dir / "studies" / "margin-faq-1"
    place.mkdir(parents=True)
    (place / "study.json").write_text(text_)
    pd.DataFrame({"number": [0]}).to_parquet(place / "trials.parquet")
    shown = text(build(read(runs_dir), runs_dir))
    assert "study.json" in shown and "| mined_hard" in shown


def test_hardest_queries_of_other_ranks_stand_alone(runs_dir: Path) -> None:
    """Where the first row's run keeps more queries than its ranks have, nobody knows what others found."""
    for place in runs_dir.glob("*"):
        query = {"row": 10**6, "query": "who?", "rank": None, "relevant": ["him"], "retrieved": [{"text": "her"}]}
        (place / "hardest.json").write_text(json.dumps([query]))
    assert "who?" in text(build(read(runs_dir), runs_dir))


def test_a_run_without_any_metric_is_left_out_and_named(runs_dir: Path) -> None:
    with RunDirectory.open(runs_dir, "odd") as directory:
        directory.write_record(run("queue", 1, run_id="odd", metrics={"recall@1": None}))
    shown = " ".join(text(build(read(runs_dir), runs_dir)).split())
    assert "odd/record.json`: has no metric" in shown and "| mined_hard" in shown


def test_a_run_that_lacks_a_metric_of_its_cut_offs_is_left_out_and_named(runs_dir: Path) -> None:
    path = next(runs_dir.glob("mnr-1*")) / "record.json"
    told = json.loads(path.read_text())
    told["config"]["eval"]["ks"] = [1, 5]
    path.write_text(json.dumps(told))
    assert (path, "has no recall@5") in read(runs_dir).skipped


def test_a_run_that_shares_no_metric_with_the_others_does_not_end_the_report(runs_dir: Path) -> None:
    path = next(runs_dir.glob("mnr-1*")) / "record.json"
    told = json.loads(path.read_text())
    told["metrics"] = {"precision@3": 5.0}
    path.write_text(json.dumps(told))
    shown = " ".join(text(build(read(runs_dir), runs_dir)).split())
    assert f"left out, since they have no recall@1: {path.parent.name}" in shown and "| mined_hard" in shown


def test_a_dollar_in_a_name_is_a_dollar(tmp_path: Path) -> None:
    data = {"name": "a $_$ b", "fingerprint": "f", "counts": {}}
    runs = Runs(LEVELS, data=data).write(tmp_path / "runs")
    Runs(LEVELS, seeds=(4, 5), data={**data, "fingerprint": "g"}).write(runs)  # a second part
    write(read(runs), runs, tmp_path / "out")
    assert "a $_$ b" in (tmp_path / "out" / "figures" / "overview.svg").read_text()


def test_figures_of_data_sets_of_like_names_do_not_overwrite_each_other(tmp_path: Path) -> None:
    sets = [("faq", "1"), ("faq", "2"), ("faq-2", "3"), ("faq 2", "4")]
    records = [
        run("mnr", 1, metrics={"recall@1": 5.0}, data={"name": n, "fingerprint": f, "counts": {}}) for n, f in sets
    ]
    found = parts(records, tmp_path, "recall@1")
    assert len({group.name for group in found}) == len({group.title for group in found}) == len(sets)


def test_encoders_of_one_name_are_distinguished_by_their_paths(tmp_path: Path) -> None:
    records = [
        run("mnr", 1, metrics={"recall@1": 5.0}, run_id=place, encoder={"name": f"{place}/model"})
        for place in ("a", "b")
    ]
    assert len({group.title for group in parts(records, tmp_path, "recall@1")}) == 2


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


def test_a_directory_without_a_finished_run_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("report", "--runs-dir", str(tmp_path)) == 2
    assert "has no finished run" in capsys.readouterr().err


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
