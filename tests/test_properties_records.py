"""Properties of what is read from disk, over generated damage: it is told, and the rest is reported."""

from __future__ import annotations

import copy
import io
import json
import shutil
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from records import LEVELS, Runs, run
from tiny import bench

from bench.commands.run import show
from bench.compare.comparability import ASPECTS, comparable, distinguish
from bench.compare.seed_groups import seed_groups
from bench.compare.select import fitting
from bench.config.overrides import rebuild, resolve
from bench.errors import UserError
from bench.record.record import Record, RecordError
from reports.provenance import provenance

WHOLE: dict[str, Any] = json.loads(
    run(
        "mnr",
        1,
        metrics={"recall@1": 50.0, "exact/recall@1": 51.0},
        data={"name": "faq", "fingerprint": "f00d", "counts": {"corpus": 10}, "truncated": {"corpus": 1}},
        environment={"device": "cpu", "packages": {"torch": "2"}, "git": "c0ffee"},
        training={"telemetry": {"active": 0.5, "negatives": 31.0}, "warnings": ["told"]},
        config=resolve(["strategy=mnr", "data=faq"]).tree(),
    ).to_json()
)

numbers = st.one_of(
    st.integers(), st.integers(-(10**400), 10**400), st.floats(), st.sampled_from([300, -5, 2**63, -0.0, 1e308])
)
scalars = st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=8))
values = st.recursive(
    scalars,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=6), below, max_size=3),
    max_leaves=6,
)


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in a JSON tree."""
    below = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in below:
        yield (*path, key)
        yield from places(value, (*path, key))


def put(tree: Any, path: tuple[Any, ...], value: Any) -> None:
    for key in path[:-1]:
        tree = tree[key]
    tree[path[-1]] = value


@st.composite
def changed(draw: st.DrawFn, whole: Any) -> str:
    """The JSON text of ``whole`` with other values in one or two places."""
    tree = copy.deepcopy(whole)
    for _ in range(draw(st.integers(1, 2))):
        put(tree, draw(st.sampled_from(list(places(tree)) or [()]).filter(bool)), draw(values))
    return json.dumps(tree)


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Other bytes: cut, with some changed, or nothing that was there."""
    kind = draw(st.sampled_from(["cut", "flipped", "other"]))
    if kind == "other" or not content:
        return draw(st.binary(max_size=60))
    if kind == "cut":
        return content[: draw(st.integers(0, len(content) - 1))]
    flipped = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        flipped[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    return bytes(flipped)


def used(record: Record) -> None:
    """Whatever comparisons, reports and the command line do with a record by itself."""
    others = [Record(**WHOLE), record]
    seed_groups(others)
    distinguish(comparable(others))
    for aspect in ASPECTS.values():
        aspect(record)
    fitting(others, "data=faq", "strategy=mnr")
    provenance([], [], others)
    with redirect_stdout(io.StringIO()):
        show(others)
    try:
        rebuild(record.config)
    except UserError as error:
        assert str(error)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(changed(WHOLE))
def test_a_record_of_any_values_is_used_or_refused_by_field(text: str) -> None:
    try:
        record = Record.from_json(text, Path("runs/x/record.json"))
    except RecordError as error:
        assert str(error).startswith("runs/x/record.json: ") and "\n" not in str(error)
        return
    used(record)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(damaged(json.dumps(WHOLE).encode()))
def test_a_record_of_any_bytes_is_used_or_refused(content: bytes) -> None:
    try:
        record = Record.from_json(content.decode(errors="replace"), Path("record.json"))
    except RecordError:
        return
    used(record)


STUDY: dict[str, Any] = {
    "schema": 1,
    "name": "margin-faq-1a2b3c4d",
    "asks": "Which margin?",
    "command": "bench study margin",
    "selected_by": "dev exact/mrr@10",
    "logarithmic": ["strategy.scale"],
    "evaluation": "retrieval",
    "split": "test",
    "arms": [
        {
            **{"strategy": "mnr", "trials": 2, "complete": 2, "pruned": 0, "failed": 0, "why": ""},
            "importances": {"strategy.scale": 1.0},
            "best": {"value": 40.0, "settings": {"strategy.scale": 20.0}},
            "finals": {"best": "bench run strategy=mnr"},
        }
    ],
    "comparison": {
        "metric": "recall@1",
        "best": None,
        "notes": ["one seed"],
        "rows": [
            {
                "label": "mnr",
                "commands": [f"bench run strategy=mnr seed={seed}" for seed in (1, 2)],
                "metrics": {"recall@1": {"n": 2, "mean": 50.0, "sd": 1.0, "low": 49.0, "high": 51.0}},
                "cost": {"train_s": 1.0},
                "before": {"recall@1": 20.0},
                "letters": "a",
            }
        ],
    },
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of three strategies with every file that a report reads, and a study."""
    root = Runs(LEVELS, seeds=(1, 2)).write(tmp_path_factory.mktemp("whole") / "runs")
    query = {"row": 1, "query": "who?", "rank": None, "relevant": ["him"], "retrieved": [{"text": "her"}]}
    events = [{"step": step, "loss": 1.0, "dev/exact/recall@1": 10.0 + step} for step in range(3)]
    for place in root.iterdir():
        (place / "hardest.json").write_text(json.dumps([query]))
        (place / "history.jsonl").write_text("".join(f"{json.dumps(event)}\n" for event in events))
    study = root / "studies" / STUDY["name"]
    study.mkdir(parents=True)
    (study / "study.json").write_text(json.dumps(STUDY))
    (study / "searched.txt").write_text("mnr-7-1\n")
    trials = {"strategy": ["mnr"] * 2, "number": [0, 1], "state": ["complete"] * 2, "value": [1.0, 2.0]}
    pd.DataFrame({**trials, "strategy.scale": [1.0, 2.0]}).to_parquet(study / "trials.parquet")
    return root


FILES = (
    *(f"mnr-1-*/{name}" for name in ("record.json", "ranks.parquet", "history.jsonl", "hardest.json")),
    *(f"studies/*/{name}" for name in ("study.json", "searched.txt", "trials.parquet")),
)


@pytest.mark.parametrize("file", FILES)
def test_whatever_one_file_holds_the_rest_is_reported(
    file: str, whole: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Record, study, hardest queries and history are changed as JSON, too."""
    scratch = tmp_path_factory.mktemp("scratch")
    monkeypatch.setattr("os.cpu_count", lambda: 1)  # no processes for so small a report
    content = next(whole.glob(file)).read_bytes()
    kinds = [damaged(content)]
    if file.endswith("json"):
        kinds.append(changed(json.loads(content)).map(str.encode))
    if file.endswith("jsonl"):
        line = changed(json.loads(content.split(b"\n")[0])).map(str.encode)
        kinds.append(line.map(lambda other: content + other + b"\n"))

    @settings(max_examples=6, deadline=None, derandomize=True, phases=[Phase.generate])  # a failure is not shrunk
    @given(st.one_of(kinds))
    def holds(other: bytes) -> None:
        runs = scratch / "runs"
        shutil.rmtree(runs, ignore_errors=True)
        shutil.copytree(whole, runs)
        next(runs.glob(file)).write_bytes(other)
        out = io.StringIO()
        with redirect_stdout(out), redirect_stderr(out):
            assert bench("report", "--runs-dir", str(runs)) == 0
            assert bench("compare", "--runs-dir", str(runs)) in (0, 2)
        assert "mined_hard" in out.getvalue()

    holds()


def test_a_pack_of_damaged_files_holds_the_rest(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs, packed = tmp_path / "runs", tmp_path / "packed"
    shutil.copytree(whole, runs)
    for file in FILES:
        next(runs.glob(file)).write_bytes(b"\xff\x00{\n")
    assert bench("records", "pack", "--runs-dir", str(runs), "--out", str(packed)) == 0
    capsys.readouterr()
    assert bench("report", "--runs-dir", str(packed)) == 0
    assert "mined_hard" in capsys.readouterr().out
