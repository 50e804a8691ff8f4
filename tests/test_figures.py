"""Figures that can be read: plain numbers, no text upon another, none beyond the edge, for few rows and for many."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from records import Runs

from bench.compare.comparison import Comparison
from reports.figures.layout import spread
from reports.figures.matrix import matrix
from reports.figures.overview import overview
from reports.figures.quality import cost, forest, recall
from reports.figures.response import response
from reports.figures.scales import plain
from reports.figures.style import Drawing, save, short, styled
from reports.figures.training import hardness, learning

COSTS = {"equal": (6400, 6400), "nearly": (6398, 6400), "a decade": (6400, 53000), "four": (90, 4_000_000)}
NAMES = {
    "short": "s{:02}",
    "long": "a_strategy_with_MANY_WIDE_WORDS_number_{:02}",
    "words": "Wmwm{:02} in words of its own",
}
KS = (1, 2, 3, 5, 10, 20, 50, 100)


def compared(rows: int, names: str, ends: tuple[int, int]) -> Comparison:
    """Rows whose quality rises with their cost, so that each is named in the figure of costs."""
    levels = {NAMES[names].format(n): 0.35 + 0.3 * n / rows for n in range(rows)}
    runs = Runs(levels, seeds=(1, 2))
    told = []
    for record in runs.records:
        value = record.metrics["recall@1"] or 0.0
        curve = {f"recall@{k}": min(100.0, value + 5 * n) for n, k in enumerate(KS)}
        before = {name: 20.0 + n for n, name in enumerate(curve)}
        told.append(replace(record, metrics=curve, baseline_metrics=before))
    runs.records = told
    return priced(runs.compare(), ends)


def priced(of: Comparison, ends: tuple[int, int]) -> Comparison:
    """The comparison with other costs: the better a row, the more it costs."""
    prices = np.geomspace(*ends, len(of.rows))[::-1]
    rows = [replace(row, cost={"texts_encoded": float(price)}) for row, price in zip(of.rows, prices, strict=True)]
    return replace(of, rows=tuple(rows))


def drawn(of: Comparison) -> Iterator[tuple[str, Drawing]]:
    rows = len(of.rows)
    telemetry = [
        {
            "hardest_similarity": 0.1 + n / 100,
            "effective_negatives": 3.0 * 4**n,
            "guide_above": 1e-5,
            "drawn_above": 0.2,
        }
        for n in range(rows)
    ]
    history = [{"step": step, "positive_similarity": 0.9, "hardest_similarity": 0.1} for step in (1, 10**5, 10**6)]
    with styled():
        made = {
            "forest": forest(of),
            "cost": cost(of),
            "recall": recall(of),
            "learning": learning(of, lambda record: history),
            "hardness": hardness(of, telemetry),
            "matrix": matrix(of),
            "overview": overview([(f"data_set_{n} with a name in words (budget.steps={n})", of) for n in range(6)]),
        }
        yield from ((name, drawing) for name, drawing in made.items() if drawing is not None)


def unreadable(drawing: Drawing) -> list[str]:
    """What stands beyond the edge of a figure or upon another text of it, or is no plain number."""
    figure, wrong = drawing.figure, []
    with styled():
        figure.dpi = 150
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        unseen = hidden(figure)
        found = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip() and t not in unseen]
        boxes = [(t.get_text(), Text.get_window_extent(t, canvas.get_renderer())) for t in found]
    wide, high = canvas.get_width_height()
    for text, box in boxes:
        if box.x0 < -1 or box.y0 < -1 or box.x1 > wide + 1 or box.y1 > high + 1:
            wrong.append(f"beyond the edge: {text!r}")
        if "$" in text or re.search(r"\d[eE][+-]?\d", text):
            wrong.append(f"not plain: {text!r}")
    for (first, a), (second, b) in combinations(boxes, 2):
        if min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 2:
            wrong.append(f"{first!r} upon {second!r}")
    return wrong


def hidden(figure: Any) -> set[Text]:
    """The labels of ticks that their axis keeps and does not draw."""
    found: set[Text] = set()
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        drawn_ticks = axis._update_ticks()
        kept = [tick for tick in [*axis.majorTicks, *axis.minorTicks] if tick not in drawn_ticks]
        found |= {label for tick in kept for label in (tick.label1, tick.label2)}
    return found


@pytest.mark.parametrize(("rows", "names"), [(2, "words"), (3, "short"), (9, "long"), (20, "short"), (20, "words")])
def test_every_text_can_be_read(rows: int, names: str) -> None:
    found = {name: unreadable(drawing) for name, drawing in drawn(compared(rows, names, COSTS["four"]))}
    assert {"forest", "recall", "learning", "hardness", "overview", "matrix"} >= found.keys() - {"cost"}
    assert len(found) >= (4 if rows < 3 else 7)
    assert not any(found.values()), {name: wrong[:5] for name, wrong in found.items() if wrong}


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("rows", [2, 20])
def test_every_text_beside_costs_can_be_read(rows: int, names: str) -> None:
    of = compared(rows, names, COSTS["four"])
    for ends in COSTS.values():
        with styled():
            drawing = cost(priced(of, ends))
        assert drawing is not None and not unreadable(drawing)


def test_an_axis_of_costs_has_plain_numbers_at_their_places() -> None:
    of = compared(9, "short", (1, 2))
    for ends in COSTS.values():
        with styled():
            drawing = cost(priced(of, ends))
        assert drawing is not None
        axis = drawing.figure.axes[0]
        labels = [tick.get_text() for tick in axis.get_xticklabels()]
        assert axis.get_xscale() == "log" and len(labels) >= 2
        for text, place in zip(labels, axis.get_xticks(), strict=True):
            assert re.fullmatch(r"\d{1,3}(,\d{3})*(\.\d+)?", text)
            assert float(text.replace(",", "")) == pytest.approx(place)


@pytest.mark.parametrize("strategies", [1, 3, 12])
@pytest.mark.parametrize("selected_by", [None, "dev exact/mrr@10"])
def test_a_study_s_figure_can_be_read(strategies: int, selected_by: str | None) -> None:
    rng = np.random.default_rng(0)
    count = 9 * strategies
    trials = pd.DataFrame(
        {
            "strategy": [NAMES["long"].format(n % strategies) for n in range(count)],
            "number": range(count),
            "state": "complete",
            "value": rng.uniform(40, 70, count),
            "train.lr": 10 ** rng.uniform(-6, -3, count),
            "index.m": rng.choice([8, 32, 100], count),
            "strategy.margin": rng.uniform(0.01, 0.4, count),
            "strategy.relative_margin": [None if n % 4 == 1 else 0.3 * rng.random() for n in range(count)],
            "strategy.clusters": [None if n % 5 == 2 else 100 ** rng.random() for n in range(count)],
            "index.engine": rng.choice(["hnswlib", "faiss", "usearch"], count),
            "encoder": rng.choice([f"somebody/a-very-long-hub-id-{n}" for n in range(9)], count),
            "strategy.top": rng.choice([True, False], count),
        }
    )
    told = {
        "selected_by": selected_by,
        "comparison": {"metric": "recall@1"},
        "asks": "Which of them? " * 9,
        "logarithmic": ["train.lr", "strategy.clusters"],
    }
    with styled():
        drawing = response(trials, told)
    assert drawing is not None and not unreadable(drawing)


def test_leaving_a_setting_out_is_a_choice_of_its_own_where_the_strategy_has_it() -> None:
    trials = pd.DataFrame(
        {
            "strategy": ["mined_hard"] * 4 + ["mnr"] * 2,
            "number": [0, 1, 2, 3, 0, 1],
            "state": ["complete"] * 6,
            "value": [50.0, 51.0, 52.0, 53.0, 40.0, 41.0],
            "strategy.relative_margin": [0.05, 0.05, None, None, None, None],
            "strategy.scale": [20.0, 50.0, 20.0, 50.0, 20.0, 50.0],
        }
    )
    told = {"selected_by": None, "comparison": {"metric": "recall@1"}, "asks": "Which?", "logarithmic": []}
    with styled():
        drawing = response(trials, told)
    assert drawing is not None and "strategy.relative_margin, strategy.scale" in drawing.alt
    axis = drawing.figure.axes[0]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["null", "0.05"]
    assert sorted(float(x) for dot in axis.collections for x, _ in dot.get_offsets()) == [0, 0, 1, 1], "mnr has none"


def test_what_a_search_left_out_stands_beside_the_numbers() -> None:
    trials = pd.DataFrame(
        {
            "strategy": ["mined_hard"] * 8 + ["mnr"],
            "number": [*range(8), 0],
            "state": ["complete"] * 9,
            "value": [50.0 + n for n in range(9)],
            "strategy.relative_margin": [None, 0.0, None, 0.05, 0.1, 0.15, 0.2, 0.25, None],
        }
    )
    told = {"selected_by": "dev", "comparison": {"metric": "recall@1"}, "asks": "Which?", "logarithmic": []}
    with styled():
        drawing = response(trials, told)
    assert drawing is not None and not unreadable(drawing)
    axis = drawing.figure.axes[0]
    labels = dict(zip(axis.get_xticks(), (label.get_text() for label in axis.get_xticklabels()), strict=True))
    null = min(labels)
    assert labels.pop(null) == "null" and [plain(tick) for tick in labels] == [*labels.values()]
    ring = max(dot.get_sizes()[0] for dot in axis.collections)
    at = [float(x) for dot in axis.collections if dot.get_sizes()[0] < ring for x, _ in dot.get_offsets()]
    assert sorted(at) == pytest.approx([null, null, 0.0, 0.05, 0.1, 0.15, 0.2, 0.25]), "mnr has no such setting"


def test_no_figure_has_markup_of_mathematics(tmp_path: Path) -> None:
    for name, drawing in drawn(compared(9, "short", (90, 4_000_000))):
        assert not re.search(r"mathdefault|\$|\^\{", save(drawing, name, tmp_path))


@given(st.floats(1e-7, 1e9))
def test_a_plain_number_is_the_number(value: float) -> None:
    text = plain(value)
    assert re.fullmatch(r"\d{1,3}(,\d{3})*(\.\d+)?", text)
    assert float(text.replace(",", "")) == pytest.approx(value, rel=1e-5)


@settings(max_examples=200)
@given(st.lists(st.floats(0, 3), min_size=1, max_size=20))
def test_labels_beside_a_plot_are_apart_and_in_order(wanted: list[float]) -> None:
    found = spread(sorted(wanted), 0.15, 3.0)
    assert all(b - a >= 0.15 - 1e-9 for a, b in pairwise(found))
    assert found[0] >= -1e-9 and found[-1] <= 3.0 + 1e-9


def test_labels_that_end_differently_do_so_when_they_are_cut() -> None:
    labels = [f"mnr {'a_setting=1 ' * 9}ef={ef}" for ef in (50, 100)]
    assert len({short(label) for label in labels}) == 2 and all(len(short(label)) == 42 for label in labels)
