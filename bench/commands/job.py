"""What a job of the cluster does: one ``bench run``, which it goes on with after a preemption."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.commands.ending import reporting_errors

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission


@dataclass(frozen=True)
class RunJob:
    """``bench run WORDS`` in ``directory``, where it was submitted."""

    words: tuple[str, ...]
    directory: str

    def __call__(self) -> None:
        """Carry it out. Raises ``SystemExit`` with status 2 after telling what was wrong."""
        from bench.commands.run import run_all

        os.chdir(self.directory)
        with reporting_errors(debug=False):
            if not run_all(self.words):
                raise SystemExit(2)

    def checkpoint(self) -> DelayedSubmission:
        """What submitit puts back into the queue before the job is ended: the same command, which resumes the run."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)
