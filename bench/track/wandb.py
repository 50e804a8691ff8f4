"""Weights & Biases: a view of the record.

A run tracked offline lies in ``runs/wandb`` and can be sent with ``wandb sync runs/wandb/offline-run-*`` or viewed
in the terminal with ``wandb leet runs/wandb``.
"""

from __future__ import annotations

import glob
import json
import logging
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.record.serialize import serialize
from bench.track.base import Tracker
from bench.track.mode import entity, project

if TYPE_CHECKING:
    from pandas import DataFrame

log = logging.getLogger(__name__)


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
    ) -> None:
        import wandb

        self.directory.mkdir(parents=True, exist_ok=True)
        # A run that goes on is told from its first row again. The log that a kill left would be sent beside it.
        for left in (self.directory / "wandb").glob(f"offline-run-{'?' * 15}-{glob.escape(run_id)}"):
            shutil.rmtree(left, ignore_errors=True)
        run = {
            "project": project(),
            "entity": entity(),
            "id": run_id,
            "name": run_id,
            "config": serialize(config),
            "group": group,
            "tags": list(tags),
            "job_type": job_type,
            "allow_val_change": True,
        }
        with _no_arguments():
            try:
                self._run = wandb.init(**run, settings=self._settings())
            except Exception as error:
                if self.mode == "offline":
                    raise
                told = str(error).partition("\n")[0]
                log.warning("W&B cannot be reached, %s is tracked offline: %s", run_id, told)
                self.mode = "offline"
                wandb.teardown()  # its service still has the run, and refuses another one of this id
                self._run = wandb.init(**run, settings=self._settings())

    def log(self, values: Mapping[str, Any], step: int) -> None:
        self._run.log(serialize(values), step=step)

    def table(self, name: str, frame: DataFrame) -> None:
        import wandb

        plain_cells = frame.astype(object).where(frame.notna(), None)  # W&B cannot write pandas' NA
        self._run.log({name: wandb.Table(dataframe=plain_cells)}, commit=False)  # beside the last step's values

    def summary(self, values: Mapping[str, Any]) -> None:
        self._run.summary.update(serialize(values))

    def data(self, name: str, facts: Mapping[str, Any]) -> None:
        import wandb

        artifact = wandb.Artifact(_artifact(name), type="data", metadata=serialize(facts))
        with artifact.new_file("data.json") as file:  # other data is another version
            json.dump(serialize(facts), file)
        # Offline W&B takes no input: the data set is then one more thing that the run has logged.
        (self._run.use_artifact if self.mode == "online" else self._run.log_artifact)(artifact)

    def results(self, model: Path | None, files: Sequence[Path], facts: Mapping[str, Any]) -> None:
        import wandb

        if model is not None:
            weights = wandb.Artifact(f"{self._run.id}-model", type="model", metadata=serialize(facts))
            weights.add_reference(model.resolve().as_uri(), checksum=False)
            self._run.log_artifact(weights)
        evaluation = wandb.Artifact(f"{self._run.id}-evaluation", type="evaluation", metadata=serialize(facts))
        for file in files:
            evaluation.add_file(str(file), policy="mutable")
        self._run.log_artifact(evaluation)

    def finish(self, ok: bool) -> None:
        if self._run is not None:  # else it was interrupted while it started
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


@contextmanager
def _no_arguments() -> Iterator[None]:
    """Keep the words of the command line from W&B, which sends them: the URL of a storage has a password."""
    words = sys.argv
    sys.argv = words[:1]
    try:
        yield
    finally:
        sys.argv = words


def _artifact(name: str) -> str:
    """``name`` as W&B takes it for an artifact: letters, digits, dots, dashes and underscores."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name)[:100] or "data"
