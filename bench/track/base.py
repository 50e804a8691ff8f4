"""The contract of a tracker, which shows a run live. The record is authoritative; a tracker never stops a run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pandas import DataFrame

log = logging.getLogger(__name__)


class Tracker:
    """The calls that a run makes to its tracker, in this order; this base class ignores them."""

    def start(
        self,
        run_id: str,
        config: Mapping[str, Any],
        group: str | None = None,
        tags: Sequence[str] = (),
        job_type: str = "train",
    ) -> None:
        """Start run ``run_id`` anew: what is tracked takes the place of all that was tracked under this id."""

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """Loss, learning rate, telemetry or metrics at an optimiser step; steps never go down."""

    def table(self, name: str, frame: DataFrame) -> None:
        """Log a table, such as the worst queries."""

    def summary(self, values: Mapping[str, Any]) -> None:
        """The run's final numbers."""

    def data(self, name: str, facts: Mapping[str, Any]) -> None:
        """Log the run's data set by its fingerprint and counts, without any text."""

    def results(self, model: Path | None, files: Sequence[Path], facts: Mapping[str, Any]) -> None:
        """Log the run's weights, which stay in the directory ``model`` if kept, and the ``files`` of its evaluation."""

    def finish(self, ok: bool) -> None:
        """End the run, as failed unless ``ok``."""


class NullTracker(Tracker):
    """No tracking."""


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
    ) -> None:
        self._guard(lambda t: t.start(run_id, config, group, tags, job_type))

    def log(self, values: Mapping[str, Any], step: int) -> None:
        self._guard(lambda t: t.log(values, step))

    def table(self, name: str, frame: DataFrame) -> None:
        self._guard(lambda t: t.table(name, frame))

    def summary(self, values: Mapping[str, Any]) -> None:
        self._guard(lambda t: t.summary(values))

    def data(self, name: str, facts: Mapping[str, Any]) -> None:
        self._guard(lambda t: t.data(name, facts))

    def results(self, model: Path | None, files: Sequence[Path], facts: Mapping[str, Any]) -> None:
        self._guard(lambda t: t.results(model, files, facts))

    def finish(self, ok: bool) -> None:
        self._guard(lambda t: t.finish(ok))

    def _guard(self, call: Callable[[Tracker], None]) -> None:
        try:
            call(self._tracker)
        except Exception as error:
            log.warning("tracking stopped, the run goes on: %s: %s", type(error).__name__, error)
            self._tracker = NullTracker()
