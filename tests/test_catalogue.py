"""The page of strategies is the one that the registry makes."""

from pathlib import Path

from bench.commands.strategies import page


def test_the_page_in_docs_is_current() -> None:
    written = Path(__file__).parents[1] / "docs" / "strategies.md"
    assert written.read_text(encoding="utf-8") == page(), "run: bench list --markdown > docs/strategies.md"
