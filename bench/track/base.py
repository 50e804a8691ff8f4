"""Who watches a run, live and beside the record, which is the truth. A tracker never stops a run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pandas import DataFrame

log = logging.getLogger(__name__)


class Tracker:
    """What a run tells whoever watches it, in this order; by itself, nobody does."""

    def start(
        self,
        run_id: str,
        config: Mapping[str, Any],
        group: str | None = None,
        tags: Sequence[str] = (),
        job_type: str = "train",
        resume: bool = False,
    ) -> None:
        """Begin run ``run_id``; ``resume`` goes on with its history instead of starting it over."""

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """Loss, learning rate, telemetry or metrics at an optimiser step; steps never go down."""

    def table(self, name: str, frame: DataFrame) -> None:
        """A table to look at, such as the worst queries."""

    def summary(self, values: Mapping[str, Any]) -> None:
        """The run's final numbers."""

    def data(self, name: str, facts: Mapping[str, Any]) -> None:
        """The data set that the run reads, by its fingerprint and counts; no text of it is sent."""

    def results(self, model: Path, files: Sequence[Path], facts: Mapping[str, Any]) -> None:
        """What the run leaves: its weights, which stay in the directory ``model``, and ``files`` that tell how good."""

    def finish(self, ok: bool) -> None:
        """End the run, as failed unless ``ok``."""


class NullTracker(Tracker):
    """Nobody watches."""


class Guarded(Tracker):
    """A tracker whose first failure is logged as a warning and ends the tracking, never the run."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker

    def start(
        self,
        run_id: str,
        config: Mapping[str, Any],
        group: str | None = None,
        tags: Sequence[str] = (),
        job_type: str = "train",
        resume: bool = False,
    ) -> None:
        self._guard(lambda t: t.start(run_id, config, group, tags, job_type, resume))

    def log(self, values: Mapping[str, Any], step: int) -> None:
        self._guard(lambda t: t.log(values, step))

    def table(self, name: str, frame: DataFrame) -> None:
        self._guard(lambda t: t.table(name, frame))

    def summary(self, values: Mapping[str, Any]) -> None:
        self._guard(lambda t: t.summary(values))

    def data(self, name: str, facts: Mapping[str, Any]) -> None:
        self._guard(lambda t: t.data(name, facts))

    def results(self, model: Path, files: Sequence[Path], facts: Mapping[str, Any]) -> None:
        self._guard(lambda t: t.results(model, files, facts))

    def finish(self, ok: bool) -> None:
        self._guard(lambda t: t.finish(ok))

    def _guard(self, call: Callable[[Tracker], None]) -> None:
        try:
            call(self._tracker)
        except Exception as error:
            log.warning("tracking stopped, the run goes on: %s: %s", type(error).__name__, error)
            self._tracker = NullTracker()
