"""The directory of one run: written so that no kill corrupts it, and by one process at a time."""

from __future__ import annotations

import fcntl
import io
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.disk import refusals, write_whole
from bench.errors import UserError
from bench.record.plain import plain
from bench.record.record import Record, RecordError

if TYPE_CHECKING:
    from pandas import DataFrame


class Held(UserError):
    """Another process is at a run."""


@dataclass(frozen=True)
class RunDirectory:
    """The files of run ``run_id`` under ``root``; making one touches nothing, :meth:`open` is for writing.

    ``config.yaml`` (resolved configuration), ``record.json`` (the run is finished when it says so),
    ``history.jsonl`` (one event a line), ``ranks.parquet`` (one row a query), ``hardest.json`` (the worst
    of them in words), ``model/``, ``checkpoints/``.
    Every write raises :class:`UserError` naming the path when the disk is full or cannot be written.
    """

    root: Path
    run_id: str

    @classmethod
    @contextmanager
    def open(cls, root: Path, run_id: str) -> Iterator[RunDirectory]:
        """Make the directory and hold it: ``with RunDirectory.open(runs_dir, run_id) as run: ...``.

        The lock is the kernel's, so it ends with the process, however that ends. Raises :class:`Held` when
        another process holds the run.
        """
        run = cls(Path(root), run_id)
        with refusals(run.path):
            run.path.mkdir(parents=True, exist_ok=True)
            lock = (run.path / ".lock").open("w")
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Held(
                    f"{run.path}: another process is writing this run; wait for it, or change the seed"
                ) from None
            yield run

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
        """Where the checkpoints of one stage of training are."""
        return self.checkpoints / str(number)

    def begun(self, number: int) -> bool:
        """Whether a stage has a checkpoint to go on from."""
        return (self.stage(number) / "last.pt").exists()

    @property
    def held(self) -> bool:
        """Whether a process, this one too, has the run open."""
        try:
            with (self.path / ".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    @property
    def finished(self) -> bool:
        """Whether the record is there and says so. A broken record is not finished."""
        try:
            return self.read_record().status == "finished"
        except (FileNotFoundError, UserError):
            return False

    def clear(self) -> None:
        """Forget the run and all its files, to do it again. The lock stays held."""
        self.drop_checkpoints()
        with refusals(self.path):
            shutil.rmtree(self.model, ignore_errors=True)
            for file in self.path.iterdir():
                if file.is_file() and file.name != ".lock":
                    file.unlink()

    def drop_checkpoints(self) -> None:
        """Free what only an interrupted run needs."""
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    def write_config(self, tree: Mapping[str, Any]) -> None:
        import yaml

        text = yaml.safe_dump(plain(tree), sort_keys=False, allow_unicode=True)
        write_whole(self.path / "config.yaml", text.encode())

    def write_record(self, record: Record) -> None:
        write_whole(self.path / "record.json", record.to_json().encode())

    def read_record(self) -> Record:
        """Raises ``FileNotFoundError`` when there is none, :class:`RecordError` when it is broken."""
        path = self.path / "record.json"
        if path.is_dir():
            raise RecordError(f"{path}: is a directory; a record is a file")
        return Record.from_json(path.read_bytes().decode(errors="replace"), path)

    def write_ranks(self, frame: DataFrame) -> None:
        buffer = io.BytesIO()
        frame.to_parquet(buffer, index=False)
        write_whole(self.path / "ranks.parquet", buffer.getbuffer())

    def read_ranks(self) -> DataFrame:
        import pandas as pd

        return pd.read_parquet(self.path / "ranks.parquet")

    def write_hardest(self, queries: Sequence[Mapping[str, Any]]) -> None:
        text = json.dumps(plain(queries), indent=1, ensure_ascii=False) + "\n"
        write_whole(self.path / "hardest.json", text.encode())

    def read_hardest(self) -> list[dict[str, Any]]:
        """What :func:`bench.evaluate.hardest.hardest` found; nothing where it is missing.

        Raises :class:`UserError` when the file is not what that writes.
        """
        path = self.path / "hardest.json"
        try:
            found: list[dict[str, Any]] = json.loads(path.read_bytes())
            for query in found:
                whole = isinstance(query["query"], str) and isinstance(query["row"], int) and "rank" in query
                texts = [*query["relevant"], *(passage["text"] for passage in query["retrieved"])]
                if not (whole and query["retrieved"] and all(isinstance(text, str) for text in texts)):
                    raise ValueError("a query of another shape")
        except FileNotFoundError:
            return []
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(f"{path} is broken ({type(error).__name__}: {error})") from error
        return found

    def append_history(self, event: Mapping[str, Any]) -> None:
        """Add one event as one line, on the disk when this returns to the extent the kernel has it.

        An event with a ``step`` belongs to that optimiser step, and is dropped when a resume goes back
        before it.
        """
        path = self.path / "history.jsonl"
        line = json.dumps(plain(event), ensure_ascii=False, allow_nan=False) + "\n"
        with refusals(path), path.open("ab", buffering=0) as file:
            file.write(line.encode())

    def history(self) -> list[dict[str, Any]]:
        """The events in order, less a last line torn by a kill; a broken line is a :class:`UserError`."""
        path = self.path / "history.jsonl"
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        events = []
        for number, line in enumerate(lines, 1):
            try:
                events.append(json.loads(line))
            except ValueError as error:
                raise UserError(f"{path}:{number}: not a JSON object ({error}); remove the line") from error
        return events

    def truncate_history(self, step: int) -> None:
        """Forget events after ``step`` and a torn last line, to go on from the checkpoint at ``step``.

        A run that starts afresh forgets everything with ``step=-1``, save events that have no step.
        """
        kept = [event for event in self.history() if event.get("step", step) <= step]
        text = "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in kept)
        write_whole(self.path / "history.jsonl", text.encode())
