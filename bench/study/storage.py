"""Where trials are kept: a file beside the records, or a database that many machines share."""

from __future__ import annotations

import fcntl
import re
import warnings
from pathlib import Path
from time import sleep
from typing import IO

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock
from sqlalchemy.exc import IntegrityError

from bench.atomic import explain_write_errors
from bench.errors import UserError

HEARTBEAT_S = 10
ATTEMPTS = 5
GRACE_S = 60  # a worker that is silent for so long is dead, and its trial is somebody else's


class _Lock(BaseJournalFileLock):
    """The kernel's lock: it ends with the process that holds it, however that ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file: IO[str] | None = None

    def acquire(self) -> bool:
        self.file = self.path.open("w")
        fcntl.flock(self.file, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        if self.file is not None:
            self.file.close()
            self.file = None


def open_storage(url: str | None, directory: Path) -> BaseStorage:
    """The storage at ``url``, or the file ``trials.log`` in ``directory``.

    In a database, heartbeats tell which workers live, and the trials of a dead one are tried again. Raises
    :class:`UserError` when it cannot be opened.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", ExperimentalWarning)  # heartbeats and retries are called that for years
    if url is None:
        path = directory / "trials.log"
        with explain_write_errors(path):
            directory.mkdir(parents=True, exist_ok=True)
            return JournalStorage(JournalFileBackend(str(path), _Lock(directory / ".lock")))
    warnings.filterwarnings("ignore", "Heartbeat of storage is supposed to be used with")  # ours beats beside `ask`
    tried = 0
    while True:
        try:
            return RDBStorage(
                url,
                heartbeat_interval=HEARTBEAT_S,
                grace_period=GRACE_S,
                heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(inherit_intermediate_values=True),
            )
        except ImportError as error:
            extra = "mysql" if url.startswith("mysql") else "postgres"
            raise UserError(
                f"storage={_shown(url)}: {error}; pip install 'negbench[{extra}]' has a driver "
                "(postgresql+psycopg://..., mysql+pymysql://...)"
            ) from error
        except Exception as error:  # SQLAlchemy's and the drivers' own
            tried += 1
            at_once = isinstance(error, IntegrityError) or "already exists" in str(error)
            if at_once and tried < ATTEMPTS:  # another worker makes the tables just now
                sleep(1.0)
                continue
            told = str(error).splitlines()[0].replace(url, _shown(url))
            raise UserError(f"storage={_shown(url)} cannot be opened: {told}") from error


def _shown(url: str) -> str:
    """The URL without its password."""
    return re.sub(r"(://[^:/@]*):[^@/]*@", r"\1:***@", url)
