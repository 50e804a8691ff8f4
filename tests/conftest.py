"""Fixtures that several modules take; what one needs is imported in it, so that no other module waits for that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tiny import bench, write_data

if TYPE_CHECKING:
    from toys import Training

    from bench.negatives import NegativesContext


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The campaign takes minutes: it is deselected, and counted as such, unless ``-m campaign`` asks for it."""
    if "campaign" not in config.getoption("markexpr"):
        left_out = [item for item in items if item.get_closest_marker("campaign")]
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny data set."""
    return write_data(tmp_path_factory.mktemp("data") / "tiny")


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nobody's cache but one of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEGBENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        yield


@pytest.fixture(scope="session")
def margin(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study, for tests that only look."""
    from tiny_studies import TRIALS, words

    runs = tmp_path_factory.mktemp("margin")
    assert bench("study", "margin", f"trials={TRIALS}", *words(data, runs)) == 0
    return runs


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    """Runs of three strategies, as directories."""
    from records import LEVELS, Runs

    return Runs(LEVELS).write(tmp_path / "runs")


@pytest.fixture
def training(tmp_path: Path) -> Training:
    from toys import Training

    from strategies import registered

    return Training(registered()["mnr"](), directory=tmp_path)


@pytest.fixture
def context(training: Training, tmp_path: Path) -> NegativesContext:
    """Where declarations of negatives are carried out on the toy data."""
    from toys import DATA, PAIRS

    from bench.cache import Cache
    from bench.negatives import NegativesContext

    return NegativesContext(DATA, PAIRS, 0, training.prepared, tmp_path / "scratch", Cache(tmp_path / "cache"))
