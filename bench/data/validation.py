"""What reading finds: problems, which stop it, with file and line; and what it joined or left out, counted by kind."""

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

    ``line`` counts from 1; 0 stands for the file as a whole. A ``skippable`` one is a row that could be left out.
    """

    path: Path
    line: int
    kind: str
    detail: str = ""
    skippable: bool = False

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}" if self.line else str(self.path)
        return f"{place}: {self.kind}" + (f" ({self.detail})" if self.detail else "")


class DataError(UserError):
    """A source that cannot be read as it stands; ``problems`` is the complete list, in order of reading."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(describe(self.problems))


def describe(problems: Sequence[Problem], shown: int = SHOWN) -> str:
    """Problems counted by kind where some repeat, most frequent first; the first ``shown`` of them with their place."""
    counts = Counter(problem.kind for problem in problems).most_common()
    counts = counts if len(counts) < len(problems) else []  # nothing is said twice
    total = f"{len(problems):,} problem{'s' if len(problems) > 1 else ''}; nothing was loaded"
    lines = [total, *(f"  {count:,} × {kind}" for kind, count in counts), *map(str, problems[:shown])]
    if len(problems) > shown:
        lines.append(f"... and {len(problems) - shown:,} more")
    skippable = sum(problem.skippable for problem in problems)
    if skippable:
        which = "all of them" if skippable == len(problems) else f"{skippable:,} of them"
        lines.append(f"data.skip_broken=true leaves {which} out, and counts them")
    return "\n".join(lines)


@dataclass
class Problems:
    """Collects problems while a reader continues, so that one reading reports all of them.

    There are three severities. :meth:`add` notes an error: what cannot be understood, or would be trained wrongly.
    :meth:`lose` notes a row that cannot be used and says something about relevance: an error, unless ``skip_broken``,
    when it is left out and counted. :meth:`tell` counts what was joined or left out without losing anything.
    """

    skip_broken: bool = False
    found: list[Problem] = field(default_factory=list)
    notices: Counter[str] = field(default_factory=Counter)

    def add(self, path: Path, line: int, what: str, detail: str = "") -> None:
        """Note an error of kind ``what`` at ``path:line`` (0: the whole file)."""
        self.found.append(Problem(path, line, what, detail))

    def lose(self, path: Path, line: int, what: str, detail: str = "") -> None:
        """Note a row that is left out with ``skip_broken``, and is an error without."""
        if self.skip_broken:
            self.notices[f"left out (data.skip_broken): {what}"] += 1
        else:
            self.found.append(Problem(path, line, what, detail, skippable=True))

    def tell(self, what: str, times: int = 1) -> None:
        """Count ``times`` more of what was understood and joined, or left out without a loss."""
        if times:
            self.notices[what] += times

    def include(self, other: Problems) -> None:
        """Add all that another reading found."""
        self.found.extend(other.found)
        self.notices.update(other.notices)

    def raise_if_any(self) -> None:
        """Raise :class:`DataError` with all errors noted so far."""
        if self.found:
            raise DataError(self.found)
