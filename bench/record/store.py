"""The directory of one run: safe against kills, and written by one process at a time."""

from __future__ import annotations

import io
import json
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, TypedDict, cast

from filelock import FileLock, Timeout

from bench.atomic import explain_write_errors, write_atomic
from bench.errors import UserError
from bench.record.files import DirectoryFiles, FileError
from bench.record.record import Record
from bench.record.schema import RETRIEVAL, SIMILARITY
from bench.record.serialize import serialize
from bench.record.shape import misfit, unusual

if TYPE_CHECKING:
    from pandas import DataFrame

log = logging.getLogger(__name__)


class Passage(TypedDict):
    """A passage that was retrieved."""

    text: str


class HardestQuery(TypedDict):
    """A query that went badly: its place among the queries, the rank of its first relevant passage, and texts."""

    row: int
    query: str
    rank: int | None
    relevant: list[str]
    retrieved: list[Passage]


class HardestPair(TypedDict):
    """A pair that went badly: its place among the pairs, its texts, and what its score and its cosine are."""

    row: int
    task: str
    left: str
    right: str
    score: float
    cosine: float


_HARDEST: dict[str, Any] = {RETRIEVAL.name: list[HardestQuery], SIMILARITY.name: list[HardestPair]}


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
    def open(cls, root: Path, run_id: str, wait: bool = False) -> Iterator[RunDirectory]:
        """Create the directory and lock it: ``with RunDirectory.open(runs_dir, run_id) as run: ...``.

        The kernel releases the lock when the process ends, in any way. While another process has locked the run, this
        waits if it is told to, or else raises :class:`RunLocked`.
        """
        run = cls(Path(root), run_id)
        with explain_write_errors(run.path):
            run.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(run.path / ".lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                if not wait:
                    raise RunLocked(f"{run.path}: another process is writing this run; wait until it ends") from None
                log.info("%s is being run by another process; waiting until it ends", run_id)
                lock.acquire()
            if (run.path / "record.json").is_dir():
                lock.release()
                raise UserError(f"{run.path / 'record.json'} is a directory, where the record is written; remove it")
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
    def head(self) -> Path:
        return self.path / "head"

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
        """Whether there is a record of this run with status ``finished``; another one is told, and is none."""
        try:
            record = self.read_record()
        except FileNotFoundError:
            return False
        except UserError as error:
            log.warning("%s; the run is done again", error)
            return False
        if record.run_id != self.run_id:
            log.warning("%s/record.json is the record of run %s; this run is done", self.path, record.run_id)
        return record.run_id == self.run_id and record.status == "finished"

    def without_weights(self) -> str:
        """What is to be said, and done, when somebody asks for the weights of this finished run, which it lacks."""
        place = "" if self.root == Path("runs") else f" {quote(f'runs_dir={self.root}')}"
        return f"{self.path} kept no weights; `{self.read_record().command}{place} keep=all --force` makes them again"

    def clear(self) -> None:
        """Delete all files of the run, to repeat it. The lock is kept."""
        self.drop_checkpoints()
        with explain_write_errors(self.path):
            for folder in (self.model, self.head):
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

    def read_hardest(self, evaluation: str) -> list[dict[str, Any]]:
        """The items that went worst, as :class:`HardestQuery` or :class:`HardestPair` by the kind of ``evaluation``.

        Nothing where the file is missing. Raises :class:`FileError` for a damaged one.
        """
        path = self.path / "hardest.json"
        try:
            found = json.loads(path.read_bytes())
        except FileNotFoundError:
            return []
        except (ValueError, OSError, RecursionError) as error:
            raise FileError(path, f"cannot be read ({error})") from error
        if why := unusual(found) or misfit(found, _HARDEST[evaluation], "content"):
            raise FileError(path, why)
        if odd := next((item for item in found if item["row"] < 0 or not item.get("retrieved", True)), None):
            raise FileError(path, f"row={odd['row']} is no place of an item, or nothing was retrieved for it")
        return cast("list[dict[str, Any]]", found)

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
