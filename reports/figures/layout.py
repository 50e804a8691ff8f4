"""Room for text in a figure: frames as wide as their labels need, wrapped notes, and labels beside a plot.

Widths of texts are measured in the font, not in a drawn figure, because drawing twice takes twice as long.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

WIDE = 5.6  # inches: small enough that its text can be read on a telephone
EDGE = 0.08  # inches at the outer edge
SMALL = 7.5  # points of labels and notes
BESIDE = 0.09  # inches that a tick's label may stand out beyond its axis
LINE = 1.35  # height of a line of text, in units of its font size


@lru_cache(maxsize=4096)
def text_width(text: str, size: float) -> float:
    """Inches that a line of ``size`` points needs; a little more than it takes in the font, because renderers round."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    return 1.07 * float(text_to_path.get_text_width_height_descent(text, FontProperties(size=size), False)[0]) / 72


def widest(texts: Iterable[str], size: float) -> float:
    """Inches of the widest of ``texts``; 0 where there is none."""
    return max((text_width(text, size) for text in texts), default=0.0)


def wrapped(text: str, width: float, size: float) -> str:
    """``text`` in lines of at most ``width`` inches, broken at spaces, and within a word only where it is wider."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if text_width(longer, size) <= width:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        for letter in word:
            if text_width(lines[-1] + letter, size) > width and lines[-1]:
                lines.append("")
            lines[-1] += letter
    return "\n".join(lines)


def text_height(text: str, size: float) -> float:
    """Inches that the lines of ``text`` need."""
    return LINE * size / 72 * (1 + text.count("\n")) if text else 0.0


def framed(
    height: float,
    labels: Sequence[str] = (),
    titles: Sequence[str] = ("",),
    across: int = 1,
    ticks: float = 0.2,
    right: float = 0.15,
    note: str = "",
    legend: Sequence[str] = (),
) -> tuple[Any, list[Any]]:
    """A figure with a panel for each of ``titles``, at most ``across`` beside each other, each ``height`` inches high.

    There is room for row ``labels`` at the left, which all panels share, for ``ticks`` inches of labels below each
    panel, for ``right`` inches beside the last one, and below all for a ``note`` and a ``legend`` of these labels
    (:func:`legend_below` draws it). Titles and note are wrapped to fit.
    """
    from matplotlib.figure import Figure

    left, gap = EDGE + (widest(labels, SMALL) + 0.1 if labels else 0.42), 0.2
    down = -(-len(titles) // across)
    across = -(-len(titles) // down)
    width = (WIDE - left - right - gap * (across - 1)) / across
    heads = [wrapped(title, width, SMALL) for title in titles]
    top = max(text_height(head, SMALL) for head in heads) + 0.1
    note = wrapped(note, WIDE - 2 * EDGE, SMALL)
    below = _legend_height(legend)
    foot = below + text_height(note, SMALL) + 0.08
    full = down * (top + height + ticks) + foot
    figure = Figure(figsize=(WIDE, full))
    axes: list[Any] = []
    for number, head in enumerate(heads):
        row, column = divmod(number, across)
        x, y = left + column * (width + gap), full - (row + 1) * (top + height) - row * ticks
        axis = figure.add_axes((x / WIDE, y / full, width / WIDE, height / full), sharey=axes[0] if axes else None)
        axis.tick_params(labelleft=column == 0)
        axis.set_title(head, fontsize=SMALL, linespacing=1.1)
        axes.append(axis)
    figure.text(EDGE / WIDE, (below + 0.04) / full, note, fontsize=SMALL, va="bottom", linespacing=1.1)
    if labels:
        axes[0].set_yticks(range(len(labels)), labels, fontsize=SMALL)
        axes[0].set_ylim(len(labels) - 0.4, -0.6)
    return figure, axes


def size_of(axis: Any) -> tuple[float, float]:
    """Width and height of an axis in inches."""
    place, (wide, high) = axis.get_position(), axis.figure.get_size_inches()
    return place.width * wide, place.height * high


def spread(wanted: Sequence[float], apart: float, top: float) -> list[float]:
    """Places near the rising ``wanted`` ones that are at least ``apart`` from each other, between 0 and ``top``."""
    found: list[float] = []
    for place in wanted:
        found.append(max(place, found[-1] + apart) if found else max(place, 0.0))
    for number in reversed(range(len(found))):
        found[number] = min(found[number], top if number + 1 == len(found) else found[number + 1] - apart)
    return found


def label_beside(axis: Any, points: Sequence[tuple[float, float, str]], colour: str) -> None:
    """Write the label of every point (x, y, label) right of the plot, with a line to it; labels do not overlap."""
    low, high = axis.get_ylim()
    _, tall = size_of(axis)
    points = sorted(points, key=lambda point: (point[1], -point[0]))
    wanted = [(y - low) / (high - low) * tall for _, y, _ in points]
    for place, (x, y, label) in zip(spread(wanted, LINE * SMALL / 72, tall), points, strict=True):
        axis.annotate(
            label,
            (x, y),
            (1.03, place / tall),
            textcoords="axes fraction",
            fontsize=SMALL,
            va="center",
            arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.5, "relpos": (0, 0.5), "shrinkA": 1, "shrinkB": 3},
        )


def _columns(labels: Sequence[str]) -> int:
    """How many columns of a legend of these labels fit beside each other."""
    return max(1, int((WIDE - 2 * EDGE) / (widest(labels, SMALL) + 0.45)))


def _legend_height(labels: Sequence[str]) -> float:
    """Inches that :func:`legend_below` needs."""
    return -(-len(labels) // _columns(labels)) * 1.5 * SMALL / 72 + 0.08 if labels else 0.0


def legend_below(figure: Any, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """A legend at the foot of the figure, in as many columns as fit."""
    if labels:
        figure.legend(
            handles,
            labels,
            loc="lower left",
            bbox_to_anchor=(0.0, 0.0),
            ncols=_columns(labels),
            fontsize=SMALL,
            handlelength=1.3,
            handletextpad=0.5,
            columnspacing=1.2,
            labelspacing=0.25,
            borderaxespad=0.2,
        )


def fits(places: Sequence[float], labels: Sequence[str], size: float, width: float) -> bool:
    """Whether labels centred at ``places`` (rising inches of an axis of ``width``) have a gap and end near the axis."""
    half = [text_width(label, size) / 2 for label in labels]
    apart = all(b - a >= half[n] + half[n + 1] + 0.07 for n, (a, b) in enumerate(pairwise(places)))
    return not half or (apart and places[0] - half[0] >= -BESIDE and places[-1] + half[-1] <= width + BESIDE)
