"""Weights & Biases beside the record: the same run, watched live. A tracker never stops a run.

The record is the truth; W&B is a view of it. A run tracked offline lies in ``runs/wandb`` and is sent later
with ``wandb sync runs/wandb/offline-run-*``, or looked at in the terminal with ``wandb leet runs/wandb``.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import choice
from bench.record.plain import plain
from bench.record.tracking_mode import has_key, resolve

if TYPE_CHECKING:
    from pandas import DataFrame

PROJECT = "negbench"
MODES = ("auto", "online", "offline", "none")

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


class WandbTracker(Tracker):
    """One W&B run per record, under the record's id, in ``directory/wandb``.

    ``mode`` is ``online`` or ``offline``; a run that cannot be started online is kept offline.
    """

    def __init__(self, mode: str, directory: Path) -> None:
        self.mode = mode
        self.directory = directory
        self._run: Any = None

    def start(
        self,
        run_id: str,
        config: Mapping[str, Any],
        group: str | None = None,
        tags: Sequence[str] = (),
        job_type: str = "train",
        resume: bool = False,
    ) -> None:
        import wandb

        self.directory.mkdir(parents=True, exist_ok=True)
        run = {
            "project": PROJECT,
            "id": run_id,
            "name": run_id,
            "config": plain(config),
            "group": group,
            "tags": list(tags),
            "job_type": job_type,
            "resume": "allow" if resume else None,
            "allow_val_change": True,
        }
        try:
            self._run = wandb.init(**run, settings=self._settings())
        except Exception as error:
            if self.mode == "offline":
                raise
            log.warning("W&B cannot be reached, %s is tracked offline: %s", run_id, error)
            self.mode = "offline"
            self._run = wandb.init(**run, settings=self._settings())

    def log(self, values: Mapping[str, Any], step: int) -> None:
        self._run.log(plain(values), step=step)

    def table(self, name: str, frame: DataFrame) -> None:
        import wandb

        plain_cells = frame.astype(object).where(frame.notna(), None)  # W&B cannot write pandas' NA
        self._run.log({name: wandb.Table(dataframe=plain_cells)}, commit=False)  # beside the last step's values

    def summary(self, values: Mapping[str, Any]) -> None:
        self._run.summary.update(plain(values))

    def data(self, name: str, facts: Mapping[str, Any]) -> None:
        import wandb

        artifact = wandb.Artifact(_artifact(name), type="data", metadata=plain(facts))
        with artifact.new_file("data.json") as file:  # other data is another version
            json.dump(plain(facts), file)
        # Offline W&B takes no input: the data set is then one more thing that the run has logged.
        (self._run.use_artifact if self.mode == "online" else self._run.log_artifact)(artifact)

    def results(self, model: Path, files: Sequence[Path], facts: Mapping[str, Any]) -> None:
        import wandb

        weights = wandb.Artifact(f"{self._run.id}-model", type="model", metadata=plain(facts))
        weights.add_reference(model.resolve().as_uri(), checksum=False)
        evaluation = wandb.Artifact(f"{self._run.id}-evaluation", type="evaluation", metadata=plain(facts))
        for file in files:
            evaluation.add_file(str(file), policy="mutable")
        self._run.log_artifact(weights)
        self._run.log_artifact(evaluation)

    def finish(self, ok: bool) -> None:
        self._run.finish(exit_code=0 if ok else 1)

    def _settings(self) -> Any:
        import wandb

        wanted: dict[str, Any] = {
            "mode": self.mode,
            "root_dir": str(self.directory.resolve()),
            "silent": True,
            "console": "off",  # the terminal is the person's: nothing of it is captured or sent
            "disable_git": True,
            "disable_code": True,
            "disable_job_creation": True,
            "save_code": False,
            "reinit": "create_new",
            "init_timeout": 30.0,
            "finish_timeout": 120.0,  # a slow network must not hold a study up: the rest can be synced
        }
        # finish_timeout is younger than the oldest wandb that is supported.
        return wandb.Settings(**{key: wanted[key] for key in wanted.keys() & wandb.Settings.model_fields.keys()})


def _artifact(name: str) -> str:
    """``name`` as W&B takes it for an artifact: letters, digits, dots, dashes and underscores."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name)[:100] or "data"


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
            log.warning("W&B tracking stopped, the run goes on: %s: %s", type(error).__name__, error)
            self._tracker = NullTracker()


def make_tracker(mode: str, directory: Path) -> Tracker:
    """The tracker of ``track=auto|online|offline|none``; W&B's files go to ``directory/wandb``.

    ``auto`` follows ``WANDB_MODE``, or else is online where a key is set up and offline where none is.
    Raises :class:`bench.errors.UserError` for another mode.
    """
    choice("track", mode, MODES)
    if mode == "auto":
        mode = resolve()
    elif mode == "online" and not has_key():
        # W&B would ask for the key and wait, in the middle of a study that nobody watches.
        log.warning("track=online, but no W&B key is set up (`wandb login`): tracking offline")
        mode = "offline"
    return NullTracker() if mode == "none" else Guarded(WandbTracker(mode, directory))
