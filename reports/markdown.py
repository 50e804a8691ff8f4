"""A report as Markdown that reads well on GitHub and as plain text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from textwrap import fill

from reports.blocks import Block, Bullets, Cell, Code, Figure, Prose, Section, Table

WIDTH = 118


def render(sections: Iterable[Section], level: int = 2, figures: str = "figures") -> str:
    """The text of ``sections``, their titles being headings of ``level``; ``figures`` is where the pictures lie."""
    return "\n\n".join(_section(section, level, figures) for section in sections)


def pictured(page: Path) -> set[str]:
    """The names of the pictures in ``figures`` that a page of :func:`render` has; none where there is no page."""
    if not page.is_file():
        return set()
    return set(re.findall(r"!\[[^\n]*\]\(figures/([^/)\n]+)\.png\)", page.read_text(errors="replace")))


def _section(section: Section, level: int, figures: str) -> str:
    parts = [_block(block, level + 1, figures) for block in section.blocks]
    if section.folded:
        head, foot = [f"<details>\n<summary>{_safe(section.title)}</summary>"], ["</details>"]
    else:
        head, foot = [f"{'#' * level} {_safe(section.title)}"], []
    return "\n\n".join([*head, *(part for part in parts if part), *foot])


def _block(block: Block, level: int, figures: str) -> str:
    match block:
        case Section():
            return _section(block, level, figures)
        case Table():
            return _table(block)
        case Prose():
            return _filled(_safe(block.text))
        case Bullets():
            return "\n".join(_filled(f"- {_safe(item)}", "  ") for item in block.items)
        case Code():
            return _code(block.lines)
        case Figure():
            return f"![{_safe(block.alt)}]({figures}/{block.name}.png)"


def _table(table: Table) -> str:
    text = pipe_table(table.header, [[_cell(cell) for cell in row.cells] for row in table.rows], table.words)
    lines = [line for row in table.rows if row.commands for line in (f"# {row.cells[0].text}", *row.commands)]
    if not lines:
        return text
    return f"{text}\n\n<details>\n<summary>Commands that repeat each row</summary>\n\n{_code(lines)}\n\n</details>"


def _cell(cell: Cell) -> str:
    text = _safe(cell.text)
    return f"**{text}**" if cell.strong else text


def _safe(text: str) -> str:
    """Text that is no markup; what stands between backquotes is none anyway."""
    parts = text.split("`")
    closed = len(parts) % 2 == 1
    return "`".join(p if closed and n % 2 else p.replace("<", "&lt;") for n, p in enumerate(parts))


def _code(lines: Sequence[str]) -> str:
    return "\n".join(["```sh", *lines, "```"])


def _filled(text: str, indent: str = "") -> str:
    return fill(text, WIDTH, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False)


def pipe_table(header: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> str:
    """A Markdown table whose columns line up in plain text; all but the first ``words`` are flush right."""
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in (header, *rows)]
    widths = [max(3, *(len(row[column]) for row in cells)) for column in range(len(header))]

    def line(row: Sequence[str]) -> str:
        padded = [c.ljust(w) if n < words else c.rjust(w) for n, (c, w) in enumerate(zip(row, widths, strict=True))]
        return "| " + " | ".join(padded) + " |"

    rule = [("-" * w) if n < words else "-" * (w - 1) + ":" for n, w in enumerate(widths)]
    return "\n".join([line(cells[0]), line(rule), *(line(row) for row in cells[1:])])
