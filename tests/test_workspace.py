"""The W&B pages: built without a network, of metrics that runs do log, and saved only where there is a key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from records import Runs
from tiny import bench, words_for, write_data

from bench.record.ledger import read
from bench.record.schema import RETRIEVAL, SIMILARITY
from reports.parts import parts

pytest.importorskip("wandb_workspaces", reason="wandb-workspaces is not installed")
from reports.workspace import bars, lines, report, workspace


@pytest.fixture(autouse=True)
def no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_PROJECT", "WANDB_ENTITY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    return Runs({"mnr": 0.5, "mined_hard": 0.7}).write(tmp_path / "runs")


def test_the_workspace_has_its_sections_with_strategies_as_groups() -> None:
    kinds = [RETRIEVAL, SIMILARITY]
    spec = json.loads(workspace("me", "negbench", kinds)._to_model().model_dump_json())
    sections = spec["spec"]["section"]["panel_bank_config"]["sections"]
    assert [section["name"] for section in sections] == [*lines(kinds), *bars(kinds), "Compare"]
    grouped = [
        panel["config"] for section in sections for panel in section["panels"] if panel["config"].get("group_by")
    ]
    assert len(grouped) == sum(map(len, (*lines(kinds).values(), *bars(kinds).values())))
    assert {panel["group_by"] for panel in grouped} == {"strategy.value.name"}
    assert "strategy.value.name" in json.dumps(spec["spec"]["section"]["run_sets"])


def test_the_report_has_verdict_and_main_table(runs_dir: Path) -> None:
    found = parts(read(runs_dir).records, runs_dir, "recall@1")
    spec = report("me", "negbench", found)._to_model().model_dump_json()
    row = found[0].comparison.rows[0]
    assert f"Use `{row.group.label}`" in spec and f"{row.metrics['recall@1'].mean:.2f}" in spec


def test_every_panel_is_of_something_that_a_run_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, Any] = {}

    class Listening:
        def __getattr__(self, name: str) -> Any:
            return lambda *arguments, **_: told.update(arguments[0]) if name in ("log", "summary") else None

    monkeypatch.setattr("bench.run.lifecycle.make_tracker", lambda mode, directory: Listening())
    data = write_data(tmp_path / "tiny")
    given = {**words_for(data, tmp_path / "runs"), "train.eval_every": "2"}
    more = ["strategy=mined_hard", "strategy.last=40", "mining.judge=scratch", "eval.retrieve=50"]
    given.pop("eval.retrieve")
    given["eval.ks"] = "[1,5,10,50]"
    assert bench("run", *more, *(f"{key}={value}" for key, value in given.items())) == 0
    panels = (*lines([RETRIEVAL]).values(), *bars([RETRIEVAL]).values())
    wanted = {metric for metrics in panels for metric in metrics}
    assert wanted <= told.keys(), wanted - told.keys()


def test_without_a_key_nothing_is_saved_and_it_is_said(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("dashboard", "--wandb", "--runs-dir", str(runs_dir)) == 2
    assert "there is no W&B API key" in capsys.readouterr().err


def test_with_a_key_both_are_saved(
    runs_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import wandb
    from wandb_workspaces.reports.v2 import Report
    from wandb_workspaces.workspaces import Workspace

    class Api:
        default_entity = "me"

    class Saved:
        url = "https://example.org/page"

    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    monkeypatch.setattr(wandb, "Api", Api)
    saved: list[str] = []
    for kind in (Workspace, Report):
        monkeypatch.setattr(kind, "save", lambda self: (saved.append(type(self).__name__), Saved())[1])
    assert bench("dashboard", "--wandb", "--runs-dir", str(runs_dir)) == 0
    assert saved == ["Workspace", "Report"] and capsys.readouterr().out.count("https://") == 2


def test_the_dashboard_without_a_name_is_the_page(
    runs_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    assert bench("dashboard", "--runs-dir", str(runs_dir)) == 0
    page = Path(capsys.readouterr().out.strip())
    assert page.is_file() and opened == [page.as_uri()]


@pytest.mark.parametrize(
    ("given", "owner", "project"),
    [({}, "me", "negbench"), ({"WANDB_PROJECT": "mine", "WANDB_ENTITY": "us"}, "us", "mine")],
)
def test_the_pages_are_of_the_environments_project(
    given: dict[str, str], owner: str, project: str, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb
    from wandb_workspaces.reports.v2 import Report
    from wandb_workspaces.workspaces import Workspace

    class Api:
        default_entity = "me"

    class Saved:
        url = "https://example.org/page"

    for name, value in {"WANDB_API_KEY": "x" * 40, **given}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(wandb, "Api", Api)
    places: list[tuple[str, str]] = []
    for kind in (Workspace, Report):
        monkeypatch.setattr(kind, "save", lambda self: (places.append((self.entity, self.project)), Saved())[1])
    assert bench("dashboard", "--wandb", "--runs-dir", str(runs_dir)) == 0
    assert places == [(owner, project)] * 2
