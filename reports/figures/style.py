"""The style of all figures, and saving them: as SVG whose marks show their values on hover, and as PNG."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from bench.atomic import atomic_file, explain_write_errors, write_atomic

# Colours that a page with a dark side replaces by its own, so each is used for one thing only.
PAPER, INK, FAINT = "#fffffe", "#1f2429", "#8a9199"
ACCENT, OTHER = "#1769aa", "#b0b6bc"
LONGEST = 42  # characters of a label
DPI = 150


@dataclass
class Drawing:
    """A matplotlib figure, its description in words, and the hover texts of its marks by their gid."""

    figure: Any
    alt: str
    hints: dict[str, str] = field(default_factory=dict)

    def hint(self, artist: Any, text: str) -> None:
        """Show ``text`` when the pointer is on ``artist``."""
        name = f"mark{len(self.hints)}"
        artist.set_gid(name)
        self.hints[name] = text


def short(label: str, most: int = LONGEST) -> str:
    """A label cut to ``most`` characters in its middle, because the ends distinguish it from its neighbours."""
    if len(label) <= most:
        return label
    end = most // 3
    return f"{label[: most - end - 1]}…{label[-end:]}"


@contextmanager
def styled() -> Iterator[None]:
    """The style, for drawing and for saving."""
    import matplotlib

    look = {
        "svg.fonttype": "none",
        "text.parse_math": False,  # a dollar in a name is one
        "font.family": "sans-serif",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 8,
        "axes.titlelocation": "left",
        "axes.labelsize": 8,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "legend.frameon": False,
        "figure.facecolor": PAPER,
        "axes.facecolor": "none",
        "savefig.facecolor": PAPER,
        **{f"{of}.color": INK for of in ("text", "xtick", "ytick")},
        "axes.edgecolor": FAINT,
        "axes.labelcolor": INK,
    }
    with matplotlib.rc_context(look):
        yield


def save(drawing: Drawing, name: str, directory: Path) -> str:
    """Write ``NAME.svg`` and ``NAME.png`` into ``directory``; returns the SVG text."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    figure, buffer = drawing.figure, io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):  # ids that do not change, and differ between pictures
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})
    svg = buffer.getvalue()
    for gid, text in drawing.hints.items():
        svg = svg.replace(f'<g id="{gid}">', f'<g id="{gid}"><title>{escape(text)}</title>')
    svg = re.sub(r'(?<= id=")|(?<=xlink:href="#)|(?<=url\(#)', f"{name}-", svg)
    figure.dpi = DPI
    with explain_write_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
        write_atomic(directory / f"{name}.svg", svg.encode())
        with atomic_file(directory / f"{name}.png") as file:
            FigureCanvasAgg(figure).print_png(file)
    return svg
