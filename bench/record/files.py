"""Where records are read from: a directory of runs, or the same files in a pack. Readers need not know which."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from functools import lru_cache
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any

from bench.errors import UserError
from bench.record import archive
from bench.record.record import Record, RecordError


class RecordFiles(ABC):
    """Files by their name under ``root``, such as ``RUN_ID/record.json`` and ``studies/NAME/study.json``."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @abstractmethod
    def names(self, pattern: str) -> list[str]:
        """The names of the files that fit ``pattern``, in order; ``*`` stands for one part of a path."""

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
        if path.is_dir():
            raise RecordError(f"{path}: is a directory; a record is a file")
        return Record.from_json(self.read(str(PurePosixPath(run_id, "record.json"))).decode(errors="replace"), path)

    def history(self, run_id: str) -> list[dict[str, Any]]:
        """A run's events in order, less a last line torn by a kill; a broken line is a :class:`UserError`."""
        path = self.root / run_id / "history.jsonl"
        try:
            lines = self.read(str(PurePosixPath(run_id, "history.jsonl"))).split(b"\n")[:-1]
        except FileNotFoundError:
            return []
        events = []
        for number, line in enumerate(lines, 1):
            try:
                events.append(json.loads(line))
            except ValueError as error:
                raise UserError(f"{path}:{number}: not a JSON object ({error}); remove the line") from error
        return events


class DirectoryFiles(RecordFiles):
    """The files of a directory of runs, as they are at the time."""

    def names(self, pattern: str) -> list[str]:
        found = (PurePosixPath(path.relative_to(self.root).as_posix()) for path in self.root.glob(pattern))
        return [str(name) for name in sorted(found)]

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
