"""The report's page in headless Chromium: it works, fits and can be read, on a phone and on a desk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from records import Runs
from tiny import bench

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed (the optional part browser)"
)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]

SIZES = {"phone": 390, "desk": 1440}
LEVELS = {f"strategy_with_a_long_name_{n}": 0.4 + n / 40 for n in range(12)}


@pytest.fixture(scope="module")
def page_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("page")
    runs = Runs(LEVELS)
    told = {"telemetry": {"hardest_similarity": 0.5, "active": 1.0}}  # of one strategy; the others' cells are empty
    runs.records[:3] = [replace(record, training=told) for record in runs.records[:3]]
    runs.write(root / "runs")
    assert bench("report", "--runs-dir", str(root / "runs"), "--out", str(root / "out")) == 0
    return root / "out" / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: Any, page_path: Path) -> Iterator[Any]:
    """Opens the page at a width, in a colour scheme; what it complains of or fetches fails the test."""
    contexts, wrong = [], []

    def open_at(width: int = 1440, scheme: str = "light") -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("request", lambda r: wrong.append(r.url) if not r.url.startswith(("file:", "data:")) else None)
        page.goto(page_path.as_uri())
        return page

    yield open_at
    for context in contexts:
        context.close()
    assert not wrong


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_it_fits_and_can_be_read(opened: Any, size: str, scheme: str) -> None:
    page = opened(SIZES[size], scheme)
    for details in page.locator("details > summary").all():
        details.evaluate("summary => { summary.parentElement.open = true; }")
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size]
    body = "getComputedStyle(document.body)"
    paper, ink = page.evaluate(f"[{body}.backgroundColor, {body}.color]")
    dark, light = sorted([luminance(paper), luminance(ink)])
    assert (light + 0.05) / (dark + 0.05) > 7, "text stands out from its background"
    assert (luminance(paper) < 0.1) == (scheme == "dark")
    texts = page.locator("figure svg text").first
    assert contrast_of(texts, paper) > 4.5


def test_on_a_phone_only_tables_scroll_and_figures_can_be_read(opened: Any) -> None:
    page = opened(SIZES["phone"])
    page.evaluate("for (const d of document.querySelectorAll('details')) d.open = true")
    beyond = page.evaluate("""() => [...document.querySelectorAll('body *')]
        .filter(e => !e.closest('.wide, svg') && e.getBoundingClientRect().right > innerWidth + 0.5)
        .map(e => e.outerHTML.slice(0, 80))""")
    assert not beyond
    assert page.evaluate("[...document.querySelectorAll('.wide')].some(e => e.scrollWidth > e.clientWidth)")
    for box in page.locator("figure, pre").all():
        assert box.evaluate("e => e.scrollWidth <= e.clientWidth")
    sizes = page.evaluate("""() => [...document.querySelectorAll('figure svg')].flatMap(svg => {
        const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
        return [...svg.querySelectorAll('text')].map(t => scale * parseFloat(getComputedStyle(t).fontSize));
    })""")
    assert len(sizes) > 50 and min(sizes) >= 6, "pixels of the page, of which a telephone has two or three each"


def test_a_wide_page_is_used(opened: Any) -> None:
    """Most of the height has something right of three fifths of the width, and no line is too long."""
    page = opened(SIZES["desk"])
    boxes = page.evaluate("""() => [...document.querySelectorAll('main svg, main table, main li, main pre, main p')]
        .filter(e => !e.closest('details:not([open])') && !e.parentElement.closest('svg'))
        .map(e => e.getBoundingClientRect()).filter(b => b.width)
        .map(b => [b.left, b.right, b.top, b.bottom])""")
    right = 0.6 * SIZES["desk"]
    heights = {int(y) for _, _, top, bottom in boxes for y in range(int(top), int(bottom))}
    used = {y for _, end, top, bottom in boxes if end > right + 60 for y in range(int(top), int(bottom))}
    assert len(used) >= 0.7 * len(heights)
    assert max(end for _, end, _, _ in boxes) > 0.9 * SIZES["desk"]
    lines = page.evaluate("[...document.querySelectorAll('main p, main li')].map(e => e.getBoundingClientRect().width)")
    assert max(lines) <= 62 * 16, "no line is too long to read"


def test_a_click_sorts_and_another_turns_it_round(opened: Any) -> None:
    page = opened()
    table = page.locator("table").filter(has=page.locator("th", has_text="letters")).first
    column = table.locator("th button", has_text="recall@1")
    place = column.evaluate("button => button.closest('th').cellIndex")

    def values() -> list[float]:
        cells = table.locator("tbody tr").all()
        return [float(row.locator("td").nth(place).get_attribute("data-value")) for row in cells]

    shown = values()
    assert len(shown) == len(LEVELS)
    column.click()
    assert values() == sorted(shown, reverse=True)
    column.click()
    assert values() == sorted(shown)
    heading = column.locator("xpath=..")
    assert heading.get_attribute("aria-sort") == "ascending"
    name = table.locator("th button", has_text="strategy")
    name.focus()
    page.keyboard.press("Enter")
    first = [row.locator("td").first.locator("summary").inner_text() for row in table.locator("tbody tr").all()]
    assert first == sorted(LEVELS, key=lambda label: int(label.rpartition("_")[2]))
    assert heading.get_attribute("aria-sort") is None


def test_empty_cells_stay_last_whichever_way_it_is_sorted(opened: Any) -> None:
    page = opened()
    table = page.locator("table").filter(has=page.locator("th", has_text="hardest negative's cosine")).first
    button = table.locator("th button", has_text="hardest negative's cosine")
    for _ in range(2):
        button.click()
        cells = [row.locator("td").nth(1).get_attribute("data-value") for row in table.locator("tbody tr").all()]
        there = [cell is not None for cell in cells]
        assert there == sorted(there, reverse=True)


def test_a_row_unfolds_to_its_command(opened: Any) -> None:
    page = opened()
    row = page.locator("details.row").first
    assert not row.locator("pre").is_visible()
    row.locator("summary").click()
    assert row.locator("pre").inner_text().startswith("bench run strategy=")


def test_figures_have_names_and_marks_say_their_values(opened: Any) -> None:
    page = opened()
    figures = page.locator("figure svg")
    assert figures.count() >= 4
    assert all(figure.get_attribute("aria-label") for figure in figures.all())
    assert page.locator("figure svg title").count() > 2 * len(LEVELS)
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))


def test_the_way_to_every_part_is_there(opened: Any) -> None:
    page = opened()
    for link in page.locator("nav a").all():
        assert page.locator(f"section[id='{link.get_attribute('href')[1:]}']").count() == 1


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2) of ``rgb(r, g, b)``."""
    parts = [float(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast_of(element: Any, paper: str) -> float:
    fill = element.evaluate("text => getComputedStyle(text).fill")
    dark, light = sorted([luminance(fill), luminance(paper)])
    return (light + 0.05) / (dark + 0.05)
