"""The services that a study uses: resolving settings, loading data, carrying out runs, reporting progress."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.config.run import RunConfig
from bench.data import DataConfig, DataSet
from bench.record.record import Record
from bench.run.context import RunContext


def _ignore(runs: int) -> None:
    """Ignore the number of runs left."""


@dataclass(frozen=True)
class Services:
    """``resolve`` makes a configuration of overrides; ``execute`` carries out a run, given its configuration, the
    overrides that led to it and what it is part of; ``load`` reads the data; ``expect`` is told how many runs are left.
    """

    resolve: Callable[[Sequence[str]], RunConfig]
    execute: Callable[[RunConfig, Sequence[str], RunContext], Record]
    load: Callable[[DataConfig], DataSet]
    expect: Callable[[int], None] = _ignore
