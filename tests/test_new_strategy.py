"""A new strategy begins as two files that work."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.commands.new import new_strategy
from bench.errors import UserError

ROOT = Path(__file__).parents[1]


def test_what_is_written_passes_the_conformance_tests(tmp_path: Path) -> None:
    """In a copy of the project, so that the checkout stays as it is."""
    for room in ("strategies", "tests", "bench"):
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    write = "from bench.commands.new import new_strategy; print(*new_strategy('soft_hinge'), sep='\\n')"
    environment = {"PYTHONPATH": f"{tmp_path}:{tmp_path / 'tests'}", "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", write], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [Path(line).relative_to(tmp_path) for line in done.stdout.split()] == [
        Path("strategies/soft_hinge.py"), Path("tests/references/soft_hinge.py")
    ]  # fmt: skip
    check = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_strategies.py", "-k", "soft_hinge"]
    done = subprocess.run([sys.executable, *check], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["3x", "Soft", "a-b", "class", "", "../x"])
def test_what_is_no_name_is_told(name: str) -> None:
    with pytest.raises(UserError, match="is not a valid strategy name"):
        new_strategy(name)


@pytest.mark.parametrize("name", ["mnr", "base", "losses"])
def test_what_is_taken_is_not_written_over(name: str) -> None:
    with pytest.raises(UserError, match="already"):
        new_strategy(name)
