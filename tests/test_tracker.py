"""W&B sees what the record says, and never stops a run."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import wandb
from wandb_log import read

from bench.errors import UserError
from bench.track import make_tracker
from bench.track.base import Guarded, NullTracker, Tracker
from bench.track.mode import MODES
from bench.track.wandb import WandbTracker

CALLS: dict[str, tuple[Any, ...]] = {
    "start": ("id", {}),
    "log": ({"loss": 1.0}, 1),
    "table": ("worst", pd.DataFrame()),
    "summary": ({"recall@1": 1.0},),
    "data": ("x", {"fingerprint": "f"}),
    "results": (Path("model"), [], {}),
    "finish": (True,),
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home, a directory and an environment in which nobody has ever used W&B."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("NETRC", raising=False)
    monkeypatch.chdir(home)
    return home


def test_an_offline_run_holds_config_history_summary_and_table(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")  # track=offline is the person's word, and wins
    monkeypatch.delitem(sys.modules, "openai", raising=False)  # of other tests; W&B would advertise Weave
    config = {"seed": 3, "train": {"lr": 1e-4}, "data": {"path": Path("a/b")}}
    ranks = pd.array([412, 97, None], dtype="Int64")
    worst = pd.DataFrame({"query": ["問い", "q", "r"], "rank": ranks, "score": [0.5, float("nan"), 0.25]})
    options: dict[str, Any] = {"group": "g", "tags": ["a", "b"], "job_type": "trial"}
    losses = {step: 1.0 / step for step in range(1, 6)}

    killed = make_tracker("offline", tmp_path / "runs")
    killed.start("in_batch-x-s3-00c0ffee", config, **options)
    killed.log({"loss": 99.0}, 1)
    killed.finish(ok=False)
    other = make_tracker("offline", tmp_path / "runs")
    other.start("x-in_batch-x-s3-00c0ffee", config)
    other.finish(ok=True)

    again = make_tracker("offline", tmp_path / "runs")
    again.start("in_batch-x-s3-00c0ffee", config, **options)
    for step in (1, 2, 3):
        again.log({"loss": np.float32(losses[step]), "odd": float("nan")}, step)
    for step in (4, 5):
        again.log({"loss": losses[step]}, step)
    again.table("worst", worst)
    again.log({"dev/recall@1": 40.5}, 5)
    again.summary({"recall@1": 51.25, "exact/recall@1": None})
    again.data("my data/x", {"fingerprint": "f"})
    (tmp_path / "model").mkdir()
    for name in ("model/weights", "record.json"):
        (tmp_path / name).write_text("1")
    again.results(tmp_path / "model", [tmp_path / "record.json"], {"recall@1": 51.25})
    again.finish(ok=True)
    wandb.teardown()  # W&B's service ends, and with it its writing

    assert isinstance(again, Guarded) and not isinstance(again._tracker, NullTracker)
    logs = {read(path)["id"]: path for path in (tmp_path / "runs" / "wandb").glob("offline-run-*/*.wandb")}
    assert logs.keys() == {"in_batch-x-s3-00c0ffee", "x-in_batch-x-s3-00c0ffee"}
    found = read(logs["in_batch-x-s3-00c0ffee"])
    assert len(list((tmp_path / "runs" / "wandb").glob("offline-run-*"))) == 2, "the killed run's log is replaced"
    assert (found["group"], sorted(found["tags"]), found["job_type"]) == ("g", ["a", "b"], "trial")
    assert {key: found["config"][key] for key in config} == {**config, "data": {"path": "a/b"}}
    rows = found["history"]
    assert [(row["_step"], row["loss"]) for row in rows] == [(s, pytest.approx(loss)) for s, loss in losses.items()]
    assert rows[-1]["dev/recall@1"] == 40.5
    assert found["exit"] == 0
    assert found["summary"]["recall@1"] == 51.25
    name = "in_batch-x-s3-00c0ffee"
    left = [
        ("run_table", f"run-{name}-worst"),
        ("data", "my_data_x"),
        ("model", f"{name}-model"),
        ("evaluation", f"{name}-evaluation"),
    ]
    assert found["artifacts"] == left

    (table,) = (tmp_path / "runs" / "wandb").glob("offline-run-*/files/media/table/worst*.json")
    kept = json.loads(table.read_text())
    assert (kept["columns"], kept["data"]) == (
        list(worst.columns),
        [["問い", 412, 0.5], ["q", 97, None], ["r", None, 0.25]],
    )
    assert any("worst" in key for key in rows[-1])
    assert capfd.readouterr() == ("", "")


class Broken(Tracker):
    """Fails at one call, and counts what comes after it."""

    def __init__(self, at: str) -> None:
        self.at = at
        self.after = 0

    def __getattribute__(self, name: str) -> Any:
        if name in CALLS:
            self.after += 1
            if name == self.at:
                raise OSError("no network")
        return super().__getattribute__(name)


@pytest.mark.parametrize("at", CALLS)
def test_a_tracker_that_fails_is_told_once_and_left(at: str, caplog: pytest.LogCaptureFixture) -> None:
    broken = Broken(at)
    guarded = Guarded(broken)
    for _ in range(2):
        for name, arguments in CALLS.items():
            getattr(guarded, name)(*arguments)
    assert broken.after == list(CALLS).index(at) + 1
    (told,) = caplog.records
    assert told.levelno == logging.WARNING and "the run goes on: OSError: no network" in told.getMessage()


def test_an_interrupt_is_not_swallowed() -> None:
    class Interrupted(Tracker):
        def finish(self, ok: bool) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Guarded(Interrupted()).finish(True)


def test_a_run_that_cannot_go_online_is_kept_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With W&B's own service, which has the run that failed, and nobody at the server's port."""
    plain = WandbTracker._settings

    def impatient(self: WandbTracker) -> Any:
        settings = plain(self)
        settings.init_timeout = 1.0
        return settings

    monkeypatch.setattr(WandbTracker, "_settings", impatient)
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    tracker = make_tracker("online", tmp_path)
    tracker.start("r", {})
    tracker.log({"loss": 0.5}, 1)
    tracker.finish(True)
    wandb.teardown()
    (told,) = (record.getMessage() for record in caplog.records if record.name.startswith("bench"))
    assert "r is tracked offline: " in told and "\n" not in told
    (log,) = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    found = read(log)
    assert (found["id"], [row["loss"] for row in found["history"]], found["exit"]) == ("r", [0.5], 0)


def test_a_tracker_that_was_interrupted_while_it_started_has_nothing_to_finish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def interrupted(**options: Any) -> None:
        assert sys.argv == ["bench"], "W&B sends the words"
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["bench", "study", "--storage", "postgresql://me:secret@host/db"])
    monkeypatch.setattr(wandb, "init", interrupted)
    tracker = make_tracker("offline", tmp_path)
    with pytest.raises(KeyboardInterrupt):
        tracker.start("r", {})
    assert len(sys.argv) == 4
    tracker.finish(False)
    assert not caplog.messages


NETRC = "machine {} login user password secret\n"
SETTINGS = "[default]\n{} = {}\n"
USER, HERE = ".config/wandb/settings", "wandb/settings"


@pytest.mark.parametrize(
    ("environment", "files", "mode"),
    [
        ({}, {}, "offline"),
        ({"WANDB_API_KEY": "k"}, {}, "online"),
        ({}, {".netrc": NETRC.format("api.wandb.ai")}, "online"),
        ({}, {".netrc": NETRC.format("example.org")}, "offline"),
        ({}, {".netrc": "not a netrc"}, "offline"),
        ({"NETRC": "other"}, {"other": NETRC.format("api.wandb.ai")}, "online"),
        ({"WANDB_BASE_URL": "https://w.example:8080"}, {".netrc": NETRC.format("w.example:8080")}, "online"),
        ({"WANDB_BASE_URL": "https://w.example"}, {".netrc": NETRC.format("api.wandb.ai")}, "offline"),
        ({}, {USER: SETTINGS.format("api_key", "k")}, "online"),
        ({}, {USER: "no section = here"}, "offline"),
        ({"WANDB_API_KEY": "k"}, {HERE: SETTINGS.format("mode", "offline")}, "offline"),
        ({"WANDB_API_KEY": "k"}, {HERE: SETTINGS.format("mode", "disabled")}, "none"),
        ({"WANDB_API_KEY": "k", "WANDB_MODE": "offline"}, {}, "offline"),
        ({"WANDB_API_KEY": "k", "WANDB_MODE": "disabled"}, {}, "none"),
        (
            {"WANDB_API_KEY": "k", "WANDB_MODE": "online"},
            {HERE: SETTINGS.format("mode", "offline")},
            "online",
        ),
        ({"WANDB_MODE": "online"}, {}, "offline"),
        ({"WANDB_MODE": "dryrun", "WANDB_API_KEY": "k"}, {}, "offline"),
    ],
)
def test_auto_goes_online_only_where_that_can_work(
    home: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], files: dict[str, str], mode: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for name, text in files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
        (home / name).chmod(0o600)
    assert mode_of(make_tracker("auto", home)) == mode


def mode_of(tracker: Tracker) -> str:
    if isinstance(tracker, NullTracker):
        return "none"
    assert isinstance(tracker, Guarded) and isinstance(tracker._tracker, WandbTracker)
    return tracker._tracker.mode


def test_the_persons_word_wins_over_what_is_set_up(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert mode_of(make_tracker("online", home)) == "offline"
    assert "no W&B API key" in caplog.text
    monkeypatch.setenv("WANDB_API_KEY", "k")
    assert {mode: mode_of(make_tracker(mode, home)) for mode in MODES if mode != "auto"} == {
        "online": "online",
        "offline": "offline",
        "none": "none",
    }
    with pytest.raises(UserError, match="track='always' is not one of auto, online, offline, none"):
        make_tracker("always", home)


def test_wandb_is_imported_only_when_a_run_is_tracked() -> None:
    code = (
        "import sys, bench.track as t, bench.record.ledger, bench.record.environment, pathlib;"
        "run = t.make_tracker('none', pathlib.Path('.')); run.start('r', {}); run.finish(True);"
        "sys.exit(bool({'wandb', 'torch', 'pandas'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("given", "project", "entity"),
    [
        ({}, "negbench", None),
        ({"WANDB_PROJECT": "mine", "WANDB_ENTITY": "us"}, "mine", "us"),
        ({"WANDB_PROJECT": "", "WANDB_ENTITY": ""}, "negbench", None),
    ],
)
def test_project_and_entity_are_those_of_the_environment(
    given: dict[str, str], project: str, entity: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    asked: dict[str, Any] = {}
    monkeypatch.setattr(wandb, "init", lambda **options: asked.update(options))
    WandbTracker("online", tmp_path).start("id", {})
    assert (asked["project"], asked["entity"]) == (project, entity)
