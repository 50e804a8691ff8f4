"""The server's page in headless Chromium: two runs side by side, on a phone and on a desk, by mouse and by keyboard."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn", reason="uvicorn is not installed (the optional part serve)")
playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed (the optional part browser)"
)
from serving import Running, running, toy_runs  # noqa: E402

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]
SIZES = {"phone": 390, "desk": 1440}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, list[str]]]:
    runs, names = toy_runs(tmp_path_factory.mktemp("page"))
    with running(*names, "--runs-dir", str(runs)) as server:
        yield server, names


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: Any, served: tuple[Running, list[str]]) -> Iterator[Any]:
    """Opens the page at a width, in a colour scheme; what it complains of or fetches elsewhere fails the test."""
    contexts, wrong = [], []

    def open_at(width: int = 1440, scheme: str = "light") -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("request", lambda r: None if r.url.startswith((served[0].url, "data:")) else wrong.append(r.url))
        page.goto(served[0].url)
        return page

    yield open_at
    for context in contexts:
        context.close()
    assert not wrong


def try_a_test_query(page: Any) -> None:
    page.get_by_role("button", name="Try a test query").click()
    page.wait_for_selector("li")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_it_fits_and_two_runs_stand_beside_each_other_where_there_is_room(
    opened: Any, served: tuple[Running, list[str]], size: str, scheme: str, tmp_path: Path
) -> None:
    page = opened(SIZES[size], scheme)
    try_a_test_query(page)
    assert page.locator("h2").all_inner_texts() == served[1]
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size]
    left, right = (section.bounding_box() for section in page.locator("section").all())
    assert (left["y"] == right["y"]) == (size == "desk") and (left["x"] == right["x"]) == (size == "phone")
    for box in page.locator("input:visible, button").all():
        assert box.bounding_box()["height"] >= 44, "a finger hits it"
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, paper[4:-1].split(","))) < 300) == (scheme == "dark")
    page.screenshot(path=tmp_path / f"{size}-{scheme}.png", full_page=True)


def test_a_test_query_is_asked_and_what_is_relevant_is_marked(opened: Any, served: tuple[Running, list[str]]) -> None:
    page = opened()
    page.get_by_label("Passages").fill("60")  # all of them, the relevant one among them
    try_a_test_query(page)
    query = page.get_by_label("Query").input_value()
    for section, run in zip(page.locator("section").all(), served[1], strict=True):
        asked = page.request.get(f"{served[0].url}/search", params={"query": query, "k": 60, "run": run}).json()
        told = [item.locator("p").inner_text() for item in section.locator("li").all()]
        assert told == [hit["text"] for hit in asked["hits"]]
        assert section.locator(".facts b").all_inner_texts() == [str(n + 1) for n in range(60)]
        assert section.locator(".id").all_inner_texts() == [hit["id"] for hit in asked["hits"]]
        assert section.locator(".score").all_inner_texts() == [f"{hit['score']:.3f}" for hit in asked["hits"]]
        marked = section.locator("li:has(mark)")
        assert marked.locator(".id").all_inner_texts() == asked["relevant"]
        assert "1 of 1 relevant found" in section.locator(".about").inner_text()
    assert page.get_by_role("status").inner_text().startswith("Query ")


def test_it_is_used_by_keyboard_and_says_what_is_wrong(opened: Any) -> None:
    page = opened()
    page.keyboard.type("kaban lodor")  # the query has the focus
    page.keyboard.press("Tab")
    page.keyboard.type("3")
    page.keyboard.press("Enter")
    page.wait_for_selector("li")
    assert page.locator("section").first.locator("li").count() == 3
    assert page.locator("mark").count() == 0 and page.get_by_role("status").inner_text() == ""
    for name in ("Search", "Try a test query"):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == name
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"


def test_texts_are_shown_and_never_run(opened: Any) -> None:
    page = opened()
    evil = "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>"
    hits = [{"rank": 1, "id": evil, "score": 0.5, "text": evil, "relevant": True}]
    told = {"run": evil, "query": evil, "id": evil, "relevant": [evil], "hits": hits}
    page.route("**/search?*", lambda route: route.fulfill(json=told))
    page.get_by_label("Query").fill(evil)
    page.keyboard.press("Enter")
    page.wait_for_selector("li")
    assert page.locator("li p").first.inner_text() == evil
    assert page.locator("main img, main script").count() == 0 and page.title() == "negbench: search"
    page.unroute("**/search?*")
    page.route("**/search?*", lambda route: route.fulfill(status=200, body=json.dumps(told | {"hits": []})))
    page.keyboard.press("Enter")
    page.wait_for_function("!document.querySelector('li')")
