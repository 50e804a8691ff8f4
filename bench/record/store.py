"""The directory of one run: safe against kills, and written by one process at a time."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from bench.atomic import explain_write_errors, write_atomic
from bench.errors import UserError
from bench.record.files import DirectoryFiles
from bench.record.record import Record
from bench.record.serialize import serialize

if TYPE_CHECKING:
    from pandas import DataFrame


class RunLocked(UserError):
    """Another process is writing a run."""


@dataclass(frozen=True)
class RunDirectory:
    """The files of run ``run_id`` under ``root``; making one touches nothing, :meth:`open` is for writing.

    ``config.yaml`` (resolved configuration), ``record.json`` (the run is finished when it says so),
    ``history.jsonl`` (one event a line), the per-item file of the evaluation (of retrieval ``ranks.parquet``, one row
    a query), ``hardest.json`` (the worst of them in words), ``model/``, ``head/`` (the language-model head of a
    strategy that generates), ``checkpoints/``.
    Every write raises :class:`UserError` naming the path when the disk is full or cannot be written.
    """

    root: Path
    run_id: str

    @classmethod
    @contextmanager
    def open(cls, root: Path, run_id: str) -> Iterator[RunDirectory]:
        """Create the directory and lock it: ``with RunDirectory.open(runs_dir, run_id) as run: ...``.

        The kernel releases the lock when the process ends, in any way. Raises :class:`RunLocked` when
        another process has locked the run.
        """
        run = cls(Path(root), run_id)
        with explain_write_errors(run.path):
            run.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(run.path / ".lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                raise RunLocked(f"{run.path}: another process is writing this run; wait until it ends") from None
        try:
            yield run
        finally:
            lock.release()

    @property
    def path(self) -> Path:
        return self.root / self.run_id

    @property
    def model(self) -> Path:
        return self.path / "model"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def stage(self, number: int) -> Path:
        """The directory of the checkpoints of one training stage."""
        return self.checkpoints / str(number)

    def begun(self, number: int) -> bool:
        """Whether a stage has a checkpoint to resume from."""
        return (self.stage(number) / "last.pt").exists()

    @property
    def held(self) -> bool:
        """Whether a process (including this one) has locked the run."""
        if not self.path.is_dir():
            return False
        try:
            with FileLock(self.path / ".lock", timeout=0):
                return False
        except Timeout:
            return True

    @property
    def finished(self) -> bool:
        """Whether there is a record with status ``finished``. A broken record is not finished."""
        try:
            return self.read_record().status == "finished"
        except (FileNotFoundError, UserError):
            return False

    def clear(self) -> None:
        """Delete all files of the run, to repeat it. The lock is kept."""
        self.drop_checkpoints()
        with explain_write_errors(self.path):
            for folder in (self.model, self.path / "head"):
                shutil.rmtree(folder, ignore_errors=True)
            for file in self.path.iterdir():
                if file.is_file() and file.name != ".lock":
                    file.unlink()

    def drop_checkpoints(self) -> None:
        """Delete the checkpoints, which only an interrupted run needs."""
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    def write_config(self, tree: Mapping[str, Any]) -> None:
        import yaml

        text = yaml.safe_dump(serialize(tree), sort_keys=False, allow_unicode=True)
        write_atomic(self.path / "config.yaml", text.encode())

    def write_record(self, record: Record) -> None:
        write_atomic(self.path / "record.json", record.to_json().encode())

    def read_record(self) -> Record:
        """Raises ``FileNotFoundError`` when there is none, :class:`RecordError` when it is broken."""
        return DirectoryFiles(self.root).record(self.run_id)

    def write_items(self, frame: DataFrame, name: str) -> None:
        """Write an evaluation's per-item table into the file ``name``."""
        buffer = io.BytesIO()
        frame.to_parquet(buffer, index=False)
        write_atomic(self.path / name, buffer.getbuffer())

    def read_items(self, name: str) -> DataFrame:
        import pandas as pd

        return pd.read_parquet(self.path / name)

    def write_hardest(self, items: Sequence[Mapping[str, Any]]) -> None:
        text = json.dumps(serialize(items), indent=1, ensure_ascii=False) + "\n"
        write_atomic(self.path / "hardest.json", text.encode())

    def read_hardest(self) -> list[dict[str, Any]]:
        """The items that went worst, as :class:`bench.evaluate.Measured` has them; nothing where the file is missing.

        Raises :class:`UserError` when it is not a list of JSON objects.
        """
        path = self.path / "hardest.json"
        try:
            found = json.loads(path.read_bytes())
            if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
                raise ValueError("not a list of objects")
        except FileNotFoundError:
            return []
        except ValueError as error:
            raise UserError(f"{path} is broken ({type(error).__name__}: {error})") from error
        return found

    def append_history(self, event: Mapping[str, Any]) -> None:
        """Add one event as one line, on the disk when this returns to the extent the kernel has it.

        An event with a ``step`` belongs to that optimiser step, and is dropped when a resume goes back
        before it.
        """
        path = self.path / "history.jsonl"
        line = json.dumps(serialize(event), ensure_ascii=False, allow_nan=False) + "\n"
        with explain_write_errors(path), path.open("ab", buffering=0) as file:
            file.write(line.encode())

    def history(self) -> list[dict[str, Any]]:
        """The events in order, without a last line cut by a kill. Raises :class:`UserError` for another broken line."""
        return DirectoryFiles(self.root).history(self.run_id)

    def truncate_history(self, step: int) -> None:
        """Remove events after ``step`` and a cut last line, to resume from the checkpoint at ``step``.

        With ``step=-1``, a run that starts over removes all events but those without a step.
        """
        kept = [event for event in self.history() if event.get("step", step) <= step]
        text = "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in kept)
        write_atomic(self.path / "history.jsonl", text.encode())
