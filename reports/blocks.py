"""What a report is made of: sections of tables, sentences, commands and figures, before it is a page of any kind."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any


@dataclass(frozen=True)
class Cell:
    """One cell of a table: ``text`` as it is read, ``value`` to sort by, ``hint`` to see when pointed at."""

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
    """A table whose first ``words`` columns are words and the others numbers."""

    header: tuple[str, ...]
    rows: tuple[Row, ...]
    words: int = 1


@dataclass(frozen=True)
class Prose:
    """A paragraph of plain text, in which ``code`` is marked by backquotes and nothing else means anything."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """Short paragraphs of a list, marked like :class:`Prose`."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Code:
    """Shell commands."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class Figure:
    """A picture, ``figures/NAME.svg`` and ``.png``; ``alt`` says in words what can be seen in it."""

    name: str
    alt: str


@dataclass(frozen=True)
class Section:
    """A part of the report under a title; a ``folded`` one shows its title until it is asked for."""

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
    """A section of the blocks that are there, or None when none is."""
    there = tuple(block for block in blocks if block is not None)
    return Section(title, there, folded) if there else None


def listed(names: Sequence[str], most: int) -> str:
    """``a, b and c``; beyond ``most`` names how many more."""
    shown = [*names[:most], *([f"{len(names) - most} more"] if len(names) > most else [])]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def number(value: float | None, digits: int = 2, sign: bool = False, hint: str = "", strong: bool = False) -> Cell:
    """A number with so many ``digits``; an empty cell where there is none."""
    if value is None or isnan(value):
        return Cell()
    return Cell(f"{value:{'+' if sign else ''}.{digits}f}", value, hint, strong)


def amount(value: float | None) -> Cell:
    """A quantity such as a cost, of which three figures are enough."""
    if value is None or isnan(value):
        return Cell()
    return Cell(f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}", value)


def share(value: float | None) -> Cell:
    """A share of one as a percentage."""
    if value is None or isnan(value):
        return Cell()
    return Cell(f"{value:.2%}", value)
