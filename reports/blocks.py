"""The content of a report, independent of its format: sections of tables, text, commands and figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any


@dataclass(frozen=True)
class Cell:
    """One cell of a table: its ``text``, the ``value`` to sort by, a ``hint`` shown on hover."""

    text: str = ""
    value: float | None = None
    hint: str = ""
    strong: bool = False


@dataclass(frozen=True)
class Row:
    """The cells of a row, and the shell ``commands`` that repeat it."""

    cells: tuple[Cell, ...]
    commands: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """A table whose first ``words`` columns are text and whose other columns are numbers."""

    header: tuple[str, ...]
    rows: tuple[Row, ...]
    words: int = 1


@dataclass(frozen=True)
class Prose:
    """A paragraph of plain text; ``code`` stands between backquotes, and there is no other markup."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """A list of short paragraphs, with the markup of :class:`Prose`."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Code:
    """Shell commands."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class Figure:
    """A picture, ``figures/NAME.svg`` and ``.png``; ``alt`` describes it in words."""

    name: str
    alt: str


@dataclass(frozen=True)
class Section:
    """A part of the report under a title; a ``folded`` one shows only its title until it is opened."""

    title: str
    blocks: tuple[Block, ...]
    folded: bool = False


Block = Table | Prose | Bullets | Code | Figure | Section


def table(header: Iterable[str], rows: Iterable[Row | Sequence[Any]], words: int = 1) -> Table:
    """A table of rows whose cells are :class:`Cell` or plain text."""

    def row(given: Row | Sequence[Any]) -> Row:
        if isinstance(given, Row):
            return given
        return Row(tuple(cell if isinstance(cell, Cell) else Cell(cell) for cell in given))

    return Table(tuple(header), tuple(map(row, rows)), words)


def section(title: str, *blocks: Block | None, folded: bool = False) -> Section | None:
    """A section of the blocks that are not None; None when there is none."""
    there = tuple(block for block in blocks if block is not None)
    return Section(title, there, folded) if there else None


def listed(names: Sequence[str], most: int) -> str:
    """``a, b and c``; of more than ``most`` names the first, and the number of the others."""
    shown = [*names[:most], *([f"{len(names) - most} more"] if len(names) > most else [])]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def number(value: float | None, digits: int = 2, sign: bool = False, hint: str = "", strong: bool = False) -> Cell:
    """A number with ``digits`` decimals; an empty cell for None and NaN."""
    if value is None or isnan(value):
        return Cell()
    return Cell(f"{value:{'+' if sign else ''}z.{digits}f}", value, hint, strong)


def amount(value: float | None) -> Cell:
    """A quantity such as a cost, with three significant figures."""
    if value is None or isnan(value):
        return Cell()
    return Cell(f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}", value)


def share(value: float | None) -> Cell:
    """A share of one as a percentage."""
    if value is None or isnan(value):
        return Cell()
    return Cell(f"{value:.2%}", value)
