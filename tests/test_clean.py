"""What `bench clean` counts and deletes, on directories that are made up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from filelock import FileLock
from records import run as recorded
from tiny import bench

RECORDS = {"config.yaml": 1, "history.jsonl": 2, "ranks.parquet": 3}


def made_up(runs: Path, seed: int, status: str = "finished", **folders: int) -> Path:
    """A run with records, and ``folders`` (model, checkpoints) with a file of so many 100 kB each."""
    told = recorded("in_batch", seed)
    path = runs / told.run_id
    path.mkdir(parents=True)
    (path / "record.json").write_text(json.dumps({**json.loads(told.to_json()), "status": status}))
    for name, size in RECORDS.items():
        (path / name).write_bytes(b"x" * 100_000 * size)
    for folder, size in folders.items():
        (path / folder / "0").mkdir(parents=True)
        (path / folder / "0" / "file").write_bytes(b"x" * 100_000 * size)
    return path


@pytest.fixture
def runs(tmp_path: Path) -> dict[str, Path]:
    """Runs of every kind by what they are."""
    root = tmp_path / "runs"
    found = {
        "plain": made_up(root, 1, model=10, checkpoints=1),
        "trial": made_up(root, 2, model=20),
        "interrupted": made_up(root, 3, status="running", checkpoints=2),
        "failed": made_up(root, 4, status="failed", checkpoints=3),
        "pruned": made_up(root, 5, status="pruned", checkpoints=4),
        "wanted": made_up(root, 6, model=30, head=5),
    }
    study = root / "studies" / "margin-x-00c0ffee"
    study.mkdir(parents=True)
    (study / "searched.txt").write_text(f"{found['trial'].name}\n{found['wanted'].name}\n")
    told = json.loads((found["wanted"] / "record.json").read_text())
    told["config"]["keep"] = "all"
    (found["wanted"] / "record.json").write_text(json.dumps(told))
    for name, sent in (("plain", True), ("trial", False)):
        folder = root / "wandb" / f"offline-run-20260101_000000-{found[name].name}"
        folder.mkdir(parents=True)
        (folder / "run.wandb").write_bytes(b"x" * 1000)
        if sent:
            (folder / "run.wandb.synced").write_bytes(b"")
    return found


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and path.name != ".lock"}


def rows(printed: str) -> dict[str, tuple[str, str]]:
    """Number and megabytes by kind, of the table."""
    kinds = ("checkpoints", "trials", "wandb", "weights")
    found = {}
    for line in printed.splitlines():
        if line.startswith(kinds):
            words = line.removesuffix("only when named").removesuffix("not named").split()
            found[words[0]] = (words[-2], words[-1])
    return found


def test_without_yes_it_only_says_what_there_is(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(tmp_path)
    assert bench("clean", "--runs-dir", str(tmp_path / "runs")) == 0
    out = capsys.readouterr().out
    assert rows(out) == {
        "checkpoints": ("2", "0.5"),  # of the finished and of the pruned run
        "trials": ("1", "2.0"),  # not those that were asked for
        "wandb": ("1", "0.0"),  # not what was never sent
        "weights": ("3", "4.5"),  # one run has the head of a language model beside its model
    }
    assert "would free 2.5 MB" in out and "--yes" in out
    assert files(tmp_path) == before


def test_with_yes_it_deletes_the_usual_kinds_and_nothing_else(runs: dict[str, Path], tmp_path: Path) -> None:
    before = files(tmp_path)
    assert bench("clean", "--yes", "--runs-dir", str(tmp_path / "runs")) == 0
    log = f"runs/wandb/offline-run-20260101_000000-{runs['plain'].name}"
    gone = {
        f"runs/{runs['plain'].name}/checkpoints/0/file",
        f"runs/{runs['pruned'].name}/checkpoints/0/file",
        f"runs/{runs['trial'].name}/model/0/file",
        f"{log}/run.wandb",
        f"{log}/run.wandb.synced",
    }
    assert before - files(tmp_path) == gone


def test_weights_of_other_runs_are_deleted_only_when_named(runs: dict[str, Path], tmp_path: Path) -> None:
    assert bench("clean", "weights", "--yes", "--runs-dir", str(tmp_path / "runs")) == 0
    left = {name for name, path in runs.items() if (path / "model").exists()}
    assert left == {"trial"} and (runs["plain"] / "checkpoints").exists()
    assert not (runs["wanted"] / "head").exists()


def test_nothing_of_a_run_that_a_process_is_writing(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.record.store import RunDirectory

    before = files(runs["plain"])
    with FileLock(runs["plain"] / ".lock"):
        assert bench("clean", "weights", "checkpoints", "--yes", "--runs-dir", str(tmp_path / "runs")) == 0
        assert files(runs["plain"]) == before
        monkeypatch.setattr(RunDirectory, "held", False)  # the process begins after the count
        assert bench("clean", "checkpoints", "--yes", "--runs-dir", str(tmp_path / "runs")) == 0
        assert files(runs["plain"]) == before
    assert f"left alone: {runs['plain'] / 'checkpoints'}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [(["clean", "modles"], "kind='modles' is not one of"), (["clean", "--runs-dir", "nowhere"], "no runs at nowhere")],
)
def test_what_cannot_be_cleaned(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(*words) == 2
    assert told in capsys.readouterr().err
