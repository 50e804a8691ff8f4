"""Every module is small and has a name of its own; floors and circles are import-linter's, see pyproject.toml."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LONGEST, SCREEN = 300, 60  # lines of a module and of a function
NAMELESS = {"utils", "util", "helpers", "helper", "manager", "misc", "common"}
MODULES = sorted(path for room in ("strategies", "bench", "studies", "reports") for path in (ROOT / room).rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_small_and_has_a_name_of_its_own(path: Path) -> None:
    assert path.stem not in NAMELESS
    text = path.read_text(encoding="utf-8")
    lines = len(text.splitlines())
    assert lines < LONGEST, f"{lines} lines: one subject fits in {LONGEST}"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= SCREEN, f"{node.name} has {length} lines: a function fits on a screen"


def test_strategies_know_torch_and_nothing_else() -> None:
    allowed = {"torch", "strategies", *sys.stdlib_module_names}
    for path in (ROOT / "strategies").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert {name.split(".")[0] for name in names} <= allowed, path


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_public_names_of_optuna_and_no_module_of_one_platform(path: Path) -> None:
    """A private name may go with any release of Optuna; a module that one platform lacks shuts that platform out."""
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"optuna[\w.]*\._|\._(trial|study)_id\b|\._storage\b", text)
    private = [
        f"{node.module}.{alias.name}"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("optuna")
        for alias in node.names
        if "._" in f"{node.module}.{alias.name}"
    ]
    assert not private
    assert not re.search(r"\b(import|from) fcntl\b", text)


def test_every_room_of_the_bench_has_a_floor() -> None:
    """import-linter says nothing of a room that no layer names."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    named = {room for layer in layers for room in re.split(r"\s*\|\s*", layer)}
    inside = (path for path in (ROOT / "bench").iterdir() if path.suffix in ("", ".py") and "__" not in path.name)
    rooms = {f"bench.{path.stem}" for path in inside}
    assert rooms <= named, rooms - named
