"""The house's floors: no import runs up, and every module is small and has a name of its own."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("strategies", "bench", "studies", "reports")
LONGEST = 300
NAMELESS = {"utils", "util", "helpers", "helper", "manager", "misc", "common"}

# The longest prefix counts. A module may import from its own floor and from those below.
FLOORS = {
    "strategies": 0,
    # Leaves that import nothing of the project: any floor may raise an error, write a file, tell how far it is.
    "bench": 0,
    "bench.errors": 0,
    "bench.role": 0,
    "bench.disk": 0,
    "bench.progress": 0,
    "bench.data": 1,
    "bench.model": 1,
    "bench.search": 1,
    "bench.negatives": 2,
    "bench.train": 2,
    "bench.evaluate": 2,
    "bench.record": 3,
    "bench.compare": 3,
    "bench.catalogue": 1,
    "bench.scaffold": 1,
    "bench.stages": 4,
    "bench.job": 4,
    "bench.run": 4,
    "bench.study": 4,
    "studies": 4,
    "reports": 4,
    "bench.config": 5,
    "bench.commands": 5,
    "bench.answers": 5,
    "bench.cli": 5,
}

MODULES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def floor(module: str) -> int:
    known = [prefix for prefix in FLOORS if module == prefix or (module + ".").startswith(prefix + ".")]
    if not known or max(known, key=len) == "bench" != module:
        pytest.fail(f"{module} stands on no floor; give it one in {Path(__file__).name}")
    return FLOORS[max(known, key=len)]


def imports(path: Path) -> Iterator[str]:
    """Every module that ``path`` imports, anywhere in it; ``from a import b`` as ``a.b`` where that is a module."""
    package = name_of(path) if path.name == "__init__.py" else name_of(path).rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = ROOT.joinpath(*base.split("."), alias.name)
                yield f"{base}.{alias.name}" if inner.is_dir() or inner.with_suffix(".py").exists() else base


def of_project(path: Path) -> Iterator[str]:
    return (module for module in imports(path) if module.split(".")[0] in ROOMS)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_import_runs_up(path: Path) -> None:
    here = name_of(path)
    up = [module for module in of_project(path) if floor(module) > floor(here)]
    assert not up, f"{here} (floor {floor(here)}) imports {up}"


@pytest.mark.parametrize("leaf", ["errors", "disk", "progress"])
def test_a_leaf_imports_nothing_but_errors(leaf: str) -> None:
    assert set(of_project(ROOT / "bench" / f"{leaf}.py")) <= {"bench.errors"}


def test_strategies_know_torch_and_nothing_of_the_bench() -> None:
    allowed = {"torch", "strategies", *sys.stdlib_module_names}
    for path in (ROOT / "strategies").rglob("*.py"):
        assert {module.split(".")[0] for module in imports(path)} <= allowed, path


def test_data_sees_only_the_declarations_of_strategies() -> None:
    for path in (ROOT / "bench" / "data").rglob("*.py"):
        seen = {module for module in of_project(path) if module.startswith("strategies")}
        assert seen <= {"strategies.negatives", "strategies.base", "strategies"}, path


@pytest.mark.parametrize("room", ["reports", "bench/compare"])
def test_reports_and_comparisons_read_records_and_nothing_else(room: str) -> None:
    allowed = ("reports", "bench.compare", "bench.record", "bench.errors", "bench.disk")
    for path in (ROOT / room).rglob("*.py"):
        others = [m for m in of_project(path) if not m.startswith(allowed)]
        assert not others, f"{path}: {others}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_is_small_and_has_a_name_of_its_own(path: Path) -> None:
    assert path.stem not in NAMELESS
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines < LONGEST, f"{lines} lines: one subject fits in {LONGEST}"
