"""The ledger: all records of a directory that can be used, and the names of those that cannot."""

from __future__ import annotations

from pathlib import Path

import pytest
from records import record

from bench.commands.runs import list_runs
from bench.errors import UserError
from bench.record import ledger
from bench.record.record import Record
from bench.record.store import RunDirectory


def write(root: Path, one: Record) -> Path:
    path = root / one.run_id / "record.json"
    path.parent.mkdir(parents=True)
    path.write_text(one.to_json())
    return path


def test_the_ledger_names_what_it_leaves_out(tmp_path: Path) -> None:
    good = [record(run_id=f"good-{n}", seed=n) for n in range(3)]
    for one in good:
        write(tmp_path, one)
    write(tmp_path, record(run_id="going", status="running"))
    failed = write(tmp_path, record(run_id="failed", status="failed", error="loss is nan at step 3"))
    torn = write(tmp_path, record(run_id="torn"))
    torn.write_bytes(torn.read_bytes()[:100])
    garbled = write(tmp_path, record(run_id="garbled"))
    garbled.write_bytes(b"\xff\x00")
    copied = write(tmp_path, record(run_id="copied"))
    copied.write_text(good[0].to_json())
    odd = tmp_path / "odd" / "record.json"
    odd.mkdir(parents=True)
    loop = tmp_path / "loop" / "record.json"
    loop.parent.mkdir()
    loop.symlink_to(loop)
    (tmp_path / "started").mkdir()
    (tmp_path / "wandb").mkdir()

    found = ledger.read(tmp_path)
    assert found.records == good
    why = dict(found.skipped)
    assert why.keys() == {torn, garbled, copied, odd, loop}
    assert [one.run_id for one in found.failed] == ["failed"] and failed not in why
    assert "half-written" in why[torn] and "half-written" in why[garbled]
    assert why[loop].startswith("cannot be read: ")
    assert "good-0" in why[copied] and why[odd] == "is a directory; a record is a file"
    with pytest.raises(UserError, match="no runs at"):
        ledger.read(tmp_path / "nowhere")


def test_runs_without_a_record_are_listed_as_running_or_interrupted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, record(run_id="ended"))
    for run_id in ("ended", "going", "stopped", "fresh"):
        with RunDirectory.open(tmp_path, run_id) as run:
            run.write_config({})
            if run_id == "stopped":
                run.append_history({"step": 20, "loss": 1.0})
    assert ledger.read(tmp_path).unfinished == ["fresh", "going", "stopped"]
    with RunDirectory.open(tmp_path, "going"):
        list_runs(tmp_path)
    listed = {line.split()[0]: " ".join(line.split()[1:]) for line in capsys.readouterr().out.splitlines()}
    assert listed["ended"].startswith("finished recall@1 ")
    assert listed["going"] == "running" and listed["fresh"] == "interrupted"
    assert listed["stopped"] == "interrupted step 20; its command continues it"


def test_a_single_run_and_a_file_are_not_taken_for_a_directory_of_runs(tmp_path: Path) -> None:
    path = write(tmp_path, record(run_id="one"))
    with pytest.raises(UserError, match="is a single run; give the directory of all runs"):
        ledger.read(path.parent)
    with pytest.raises(UserError, match="is a file; give the directory that holds it"):
        ledger.read(path)
