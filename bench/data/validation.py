"""Strict reading: every problem of a source is noted with file and line, and all are reported together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.errors import UserError

SHOWN = 10


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem of a source: problems are counted by ``kind``; ``detail`` is specific to this place.

    ``line`` counts from 1; 0 stands for the file as a whole.
    """

    path: Path
    line: int
    kind: str
    detail: str = ""

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}" if self.line else str(self.path)
        return f"{place}: {self.kind}" + (f" ({self.detail})" if self.detail else "")


class DataError(UserError):
    """A source that cannot be read as it stands; ``problems`` is the complete list, in order of reading."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(describe(self.problems))


def describe(problems: Sequence[Problem], shown: int = SHOWN) -> str:
    """All problems counted by kind, most frequent first, and the first ``shown`` of them with their place."""
    counts = Counter(problem.kind for problem in problems).most_common()
    total = f"{len(problems):,} problem{'s' if len(problems) > 1 else ''}; nothing was loaded"
    lines = [total, *(f"  {count:,} × {kind}" for kind, count in counts), *map(str, problems[:shown])]
    if len(problems) > shown:
        lines.append(f"... and {len(problems) - shown:,} more")
    return "\n".join(lines)


@dataclass
class Problems:
    """Collects problems while a reader continues, so that one reading reports all of them."""

    found: list[Problem] = field(default_factory=list)

    def add(self, path: Path, line: int, what: str, detail: str = "") -> None:
        """Note a problem of kind ``what`` at ``path:line`` (0: the whole file)."""
        self.found.append(Problem(path, line, what, detail))

    def raise_if_any(self) -> None:
        """Raise :class:`DataError` with all problems noted so far."""
        if self.found:
            raise DataError(self.found)
