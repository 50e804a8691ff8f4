"""The files of a directory by their names: which split or part each is, and which were not read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.data.lines import missing
from bench.data.validation import Problems
from bench.errors import UserError

SPLITS = ("train", "dev", "test")
ALIASES = {
    "train": ("train", "training"),
    "dev": ("dev", "validation", "valid", "val", "development", "eval"),
    "test": ("test", "testing"),
}
"""The names of each split, the same in every format."""
SPLIT_OF = {alias: split for split, aliases in ALIASES.items() for alias in aliases}
LESS = ("_pairwise", ".small")
"""Endings of files that are a split where it has no other: PaddleNLP's ranking sets, and MS MARCO's smaller dev."""
NAMES = {alias + ending for alias in SPLIT_OF for ending in ("", *LESS)}
"""The stems of all files that are a split."""

SUFFIXES = (".tsv", ".csv", ".txt", ".jsonl", ".ndjson", ".json", ".parquet")
TABLE = re.compile(rf"(.+?)(-\d+-of-\d+)?({'|'.join(map(re.escape, SUFFIXES))})(\.gz)?", re.IGNORECASE)
PART = re.compile(rf"({'|'.join(SPLIT_OF)})(_\w+)", re.IGNORECASE)
WORTH_NO_WORD = re.compile(r"\..*|(readme|licen[cs]e).*|.*\.md", re.IGNORECASE)
PROGRAM = (".py", ".sh", ".ipynb", ".log", ".yaml", ".yml", ".toml", ".cfg", ".ini", ".md")


def stem_of(name: str) -> str | None:
    """The name of a file of rows without suffix, shard number and ``.gz``, in lower case; None for other files."""
    match = TABLE.fullmatch(name)
    return match[1].lower() if match else None


class Folder:
    """A directory, with a note of which of its files were read.

    Raises :class:`UserError` when it cannot be listed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.entries = sorted(path.iterdir())
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}") from error
        self.tables = {entry: stem for entry in self.entries if (stem := stem_of(entry.name)) is not None}
        self._read: set[Path] = set()

    def has(self, stems: Iterable[str]) -> bool:
        """Whether a file of rows (or at least its name) is called one of ``stems``."""
        return not set(stems).isdisjoint(self.tables.values())

    def named(self, stems: Sequence[str]) -> list[Path]:
        """The one file of rows that is called one of ``stems``, or its shards (``-00000-of-00002``) in order.

        Raises :class:`UserError` when there are several files, since it is unclear which is meant.
        """
        there = [path for path, stem in self.tables.items() if stem in stems]
        whole = [path for path in there if not (match := TABLE.fullmatch(path.name)) or not match[2]]
        if len({self.tables[path] for path in there}) > 1 or (whole and len(there) > 1):
            names = " and ".join(path.name for path in there)
            raise UserError(f"{self.path}: {names} both exist; keep one of them")
        self._read.update(there)
        return there

    def of_any_split(self, stems: Sequence[str]) -> list[Path]:
        """All files that are called one of ``stems``, alone or with a split: ``queries.jsonl``, ``queries.dev.tsv``."""
        names = {name for stem in stems for name in (stem, *(n for alias in SPLIT_OF for n in _joined(stem, alias)))}
        there = [path for path, stem in self.tables.items() if stem in names]
        self._read.update(there)
        return there

    def splits(self, problems: Problems, before: str = "") -> dict[str, list[Path]]:
        """The files of each split that has any, by the names that :data:`ALIASES` knows, in the order of the splits.

        With ``before`` they are called ``BEFORE.train.tsv`` or ``train.BEFORE.tsv``, with a dot, ``_`` or ``-``. A
        name of a split that is no file of rows (a directory, a workbook) is an error where the split has no other.
        """
        found: dict[str, list[Path]] = {}
        for split in SPLITS:
            for ending in ("", *LESS):
                names = [alias + ending for alias in ALIASES[split]]
                if before:
                    names = [name for alias in names for name in _joined(before, alias)]
                if files := self.named(names):
                    found[split] = files
                    break
            else:
                if not before:
                    self._mistaken(split, problems)
        return found

    def _mistaken(self, split: str, problems: Problems) -> None:
        for entry in self.entries:
            name = entry.name.lower()
            if entry not in self.tables and name.split(".")[0] in ALIASES[split] and not name.endswith(PROGRAM):
                fit = f"a file of {split} is called {name.split('.')[0]}.tsv, .csv, .jsonl or .parquet"
                problems.add(entry, 0, missing(entry) or "has the name of a split and is of no known kind", fit)
                self._read.add(entry)

    def parts(self) -> list[tuple[str, str, Path]]:
        """``(part, split, file)`` of each file that may name a part and was not read: ``dev_hard``, ``dev``.

        Raises :class:`UserError` when two files may be one part.
        """
        found: dict[str, tuple[str, str, Path]] = {}
        for path, stem in self.tables.items():
            if path not in self._read and (match := PART.fullmatch(stem)):
                split = SPLIT_OF[match[1]]
                part = (split + match[2], split, path)
                if (other := found.setdefault(part[0], part)) != part:
                    raise UserError(f"{self.path}: {other[2].name} and {path.name} both exist; keep one of them")
        return list(found.values())

    def took(self, path: Path) -> None:
        """Note that an entry was read."""
        self._read.add(path)

    def tell_unread(self, problems: Problems, shown: int = 10) -> None:
        """Name the entries that were not read, but for hidden files, read-me files and licences."""
        rest = [e for e in self.entries if e not in self._read and not WORTH_NO_WORD.fullmatch(e.name)]
        names = [entry.name + "/" * entry.is_dir() for entry in rest]
        listed = ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")
        problems.tell(f"files not read: {listed}", len(names))


def _joined(stem: str, alias: str) -> list[str]:
    """The names of a split's own file of a kind: ``qrels.train``, ``train_qrels``, ``queries.dev.small``."""
    aliases = (alias, alias + LESS[1])
    return [name for a in aliases for mark in "._-" for name in (stem + mark + a, a + mark + stem)]
