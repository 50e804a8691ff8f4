"""A report as one HTML file that needs nothing else: tables sort, figures say their values, in light and in dark."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup, escape

from reports.blocks import Block, Figure, Section, Table
from reports.figures.style import ACCENT, FAINT, INK, PAPER

_PAGE = Path(__file__).parent / "page"
_CODE = re.compile(r"`([^`]+)`")
NARROW = 6  # columns of a table that fits into half a wide page
_THEME = {INK: "var(--ink)", PAPER: "none", FAINT: "var(--faint)", ACCENT: "var(--accent)"}


def render(title: str, sections: Sequence[Section], pictures: Mapping[str, str]) -> str:
    """The page; ``pictures`` are the figures' SVG texts by name."""

    def block(given: Block, level: int) -> Markup:
        kind = type(given).__name__.lower()
        return Markup(getattr(_macros(), kind)(given, level, block, pictures_of))

    def pictures_of(figure: Figure) -> Markup:
        return Markup(_inline(pictures[figure.name], figure.alt))

    return (
        _environment()
        .get_template("page.html")
        .render(
            title=title,
            sections=[(section, _anchor(section.title)) for section in sections],
            block=block,
            style=Markup((_PAGE / "style.css").read_text(encoding="utf-8")),
            script=Markup((_PAGE / "page.js").read_text(encoding="utf-8")),
        )
    )


def _inline(svg: str, alt: str) -> str:
    """An SVG as part of the page: its colours are the page's, and it has a name for those who cannot see it."""
    svg = svg[svg.index("<svg") :]
    for colour, by in _THEME.items():
        svg = svg.replace(colour, by)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(alt)}" ', 1)


def _narrow(section: Section) -> bool:
    """Whether the section can stand beside another on a wide page: no wide table, no part, and not text alone."""
    open_ = [block for block in section.blocks if not (isinstance(block, Section) and block.folded)]
    tables = [block for block in open_ if isinstance(block, Table)]
    shown = any(isinstance(block, Figure | Table) for block in open_)
    fits = all(len(table.header) <= NARROW for table in tables)
    return shown and fits and not any(isinstance(block, Section) for block in open_)


def _marked(text: str) -> Markup:
    """Plain text with its backquoted words as code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))


def _anchor(title: str) -> str:
    return re.sub(r"\W+", "-", title.lower()).strip("-")


@cache
def _environment() -> Environment:
    found = Environment(loader=FileSystemLoader(_PAGE), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    found.filters["marked"] = _marked
    found.tests["narrow"] = _narrow
    return found


@cache
def _macros() -> object:
    return _environment().get_template("blocks.html").module
