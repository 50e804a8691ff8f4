"""Where records are read from: a directory of runs, or the same files in a pack. Readers need not know which."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import lru_cache
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from bench.errors import UserError
from bench.record import archive
from bench.record.record import Record, RecordError
from bench.record.shape import misfit, unusual

if TYPE_CHECKING:
    import pyarrow as pa

NUMBERS = ("loss", "positive_similarity", "hardest_similarity")  # of an event, and all of dev/...


class FileError(UserError):
    """A file of a run or a study that cannot be used; ``path`` and ``why`` are its message."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path, self.why = path, why


class RecordFiles(ABC):
    """Files by their name under ``root``, such as ``RUN_ID/record.json`` and ``studies/NAME/study.json``."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @abstractmethod
    def names(self, pattern: str) -> list[str]:
        """The names of the files that fit ``pattern``, in order; ``*`` stands for one directory, and not for a file."""

    @abstractmethod
    def source(self, name: str) -> Path | BytesIO:
        """What pandas and pyarrow can read the file from. Where there is none, this or the reading raises
        ``FileNotFoundError``.
        """

    def read(self, name: str) -> bytes:
        """The content of a file. Raises ``FileNotFoundError`` when there is none."""
        source = self.source(name)
        return source.read_bytes() if isinstance(source, Path) else source.getvalue()

    def record(self, run_id: str) -> Record:
        """Raises ``FileNotFoundError`` when there is none, :class:`RecordError` when it is broken."""
        path = self.root / run_id / "record.json"
        try:
            content = self.read(str(PurePosixPath(run_id, "record.json")))
        except FileNotFoundError:
            raise
        except IsADirectoryError:
            raise RecordError(f"{path}: is a directory; a record is a file") from None
        except OSError as error:
            raise RecordError(f"{path}: cannot be read: {error.strerror}") from error
        return Record.from_json(content.decode(errors="replace"), path)

    def history(self, run_id: str) -> list[dict[str, Any]]:
        """A run's events in order, less a last line torn by a kill; :class:`FileError` for another that is broken."""
        path = self.root / run_id / "history.jsonl"
        try:
            lines = self.read(str(PurePosixPath(run_id, "history.jsonl"))).split(b"\n")[:-1]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise FileError(path, f"cannot be read: {error.strerror}") from error

        def place(number: int) -> Path:
            return path.with_name(f"{path.name}:{number}")

        events = []
        for number, line in enumerate(lines, 1):
            try:
                event = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise FileError(place(number), f"not a JSON object ({error}); remove the line") from error
            if why := unusual(event) or misfit(event, Mapping[str, Any], "event") or _odd_event(event):
                raise FileError(place(number), f"{why}; remove the line")
            events.append(event)
        return events

    def table(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """A Parquet file, or those of its ``columns`` that it has.

        Raises ``FileNotFoundError`` when there is none, :class:`FileError` for a damaged one.
        """
        import pyarrow as pa
        import pyarrow.parquet as parquet

        try:
            file = parquet.ParquetFile(self.source(name))
            table = file.read(columns=None if columns is None else list(columns), use_threads=False)
            table.validate(full=True)
            if len(set(table.column_names)) < table.num_columns:
                raise ValueError("two columns have one name")
            return table.replace_schema_metadata(None)  # what pandas notes of itself is not needed, and may be damaged
        except FileNotFoundError:
            raise
        except (OSError, ValueError, MemoryError, OverflowError, pa.ArrowException) as error:
            raise FileError(self.root / name, f"cannot be read ({' '.join(str(error).split())})") from error


_NUMBER = float | None


def _odd_event(event: Mapping[str, Any]) -> str | None:
    """What learning curves are drawn from, by its type."""
    for name, value in event.items():
        kind = int if name == "step" else _NUMBER if name in NUMBERS or name.startswith("dev/") else Any
        if why := misfit(value, kind, name):
            return why
    return None


class DirectoryFiles(RecordFiles):
    """The files of a directory of runs, as they are at the time."""

    def names(self, pattern: str) -> list[str]:
        folder, _, name = pattern.rpartition("/")  # not all by glob, which leaves out a link that leads nowhere
        found = (path / name for path in self.root.glob(folder))
        there = (path for path in found if path.exists() or path.is_symlink())
        return [str(name) for name in sorted(PurePosixPath(path.relative_to(self.root).as_posix()) for path in there)]

    def source(self, name: str) -> Path:
        return self.root / name


class PackedFiles(RecordFiles):
    """The files of a pack, in memory."""

    def __init__(self, root: Path, content: dict[str, bytes]) -> None:
        super().__init__(root)
        self._content = content

    def names(self, pattern: str) -> list[str]:
        depth = len(PurePosixPath(pattern).parts)
        found = (name for name in map(PurePosixPath, self._content) if len(name.parts) == depth and name.match(pattern))
        return [str(name) for name in sorted(found)]

    def source(self, name: str) -> BytesIO:
        try:
            return BytesIO(self._content[name])
        except KeyError:
            raise FileNotFoundError(self.root / name) from None


def files_at(root: Path) -> RecordFiles:
    """The records under ``root``: of its pack where it holds one, else of its directories.

    Raises :class:`UserError` for a pack that is broken or of a later version.
    """
    pack = root / archive.NAME
    try:
        state = pack.stat()
    except OSError:
        return DirectoryFiles(root)
    return _packed(pack, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=4)
def _packed(pack: Path, changed: int, size: int) -> PackedFiles:
    """A pack is read once; another time or size is another pack."""
    return PackedFiles(pack.parent, archive.unarchive(pack))
