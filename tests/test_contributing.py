"""The guide for contributors names files, commands and marks that are there."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from bench.config.overrides import expand, resolve

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PATHS = sorted(set(re.findall(r"`((?:bench|strategies|studies|reports|tests|docs)/[\w./*]+)`", TEXT)))


@pytest.mark.parametrize("path", PATHS)
def test_a_path_is_there(path: str) -> None:
    place = path.replace("NAME.py", "*.py")
    assert list(ROOT.glob(place)), path


def test_its_commands_and_marks_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", TEXT, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    marks = (ROOT / "pyproject.toml").read_text()
    for mark in ("gpu", "peers", "postgres", "browser", "shared"):
        assert f'"{mark}: ' in marks and f"`{mark}`" in TEXT


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("studies/base.py", "class StudySpec"),
        ("bench/data/formats/base.py", "class Format"),
        ("bench/evaluate/metrics.py", "METRICS = {"),
        ("bench/evaluate/metrics.py", "at_ten"),
        ("bench/evaluate/base.py", "class Evaluation"),
        ("bench/record/schema.py", "SCHEMAS = {"),
        ("bench/evaluate/__init__.py", "def evaluation_kind"),
        ("strategies/base.py", "def register"),
    ],
)
def test_a_name_is_where_the_guide_says(path: str, name: str) -> None:
    assert name in (ROOT / path).read_text(encoding="utf-8")


EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
CODE = [path for room in ("bench", "reports", "strategies", "studies") for path in (ROOT / room).rglob("*.py")]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_message_says_to_install_can_be_installed_from_a_checkout(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "negbench[" not in text, "negbench is on no index"
    if path != ROOT / "bench/errors.py":
        assert "pip install" not in text, "bench.errors.install words it"
    asked = re.findall(r"""(?:\binstall\(|extra=)["'](\w+)["']\)""", text)
    assert set(asked) <= EXTRAS.keys()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_page_says_to_install_can_be_installed_from_a_checkout(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "negbench[" not in text
    named = [extra for found in re.findall(r"-e \"?\.\[([\w,]+)\]", text) for extra in found.split(",")]
    assert set(named) <= EXTRAS.keys()


def commands(text: str) -> list[list[str]]:
    """The words behind every `bench run` of a page or a makefile, but those in the middle of a sentence."""
    return [
        shlex.split(line.partition(" #")[0]) for line in re.findall(r"^[^`\n]*bench run ([^\"\n]*)", text, re.MULTILINE)
    ]


def test_the_runs_of_the_readme_and_of_the_demo_are_runs() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (small,) = re.findall(r"^SMALL := ((?:.*\\\n)*.*)", makefile, re.MULTILINE)
    makefile = makefile.replace("$(SMALL)", small.replace("\\\n", " "))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    asked = [words for words in (*commands(readme), *commands(makefile)) if "--again" not in words]
    assert len(asked) >= 7
    for words in asked:
        for single in expand(words):
            resolve(single)
