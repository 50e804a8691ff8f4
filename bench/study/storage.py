"""Storage of trials: a file beside the records, or a database or journal that several machines share."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from time import sleep
from typing import Any
from urllib.parse import unquote_plus

import optuna
from filelock import FileLock
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.exc import IntegrityError

from bench.atomic import explain_write_errors
from bench.errors import UserError, install, without_secrets
from bench.study.journal import SCHEME, drop_torn_line, open_journal

HEARTBEAT_S = 10
ATTEMPTS = 5
GRACE_S = 60  # a worker that is silent for so long is dead, and its trial is somebody else's


class FileLocking:
    """A file lock that the kernel releases when its process ends, in any way."""

    def __init__(self, path: Path) -> None:
        self._lock = FileLock(path)

    def acquire(self) -> bool:
        """Wait until nobody else holds the lock, and take it."""
        self._lock.acquire(poll_interval=0.01)
        return True

    def release(self) -> None:
        """Let others have it."""
        self._lock.release()


def _mend(path: Path) -> None:
    """Drop a last line that a crash left half-written. Raises :class:`UserError` for other damage."""
    if not path.exists():
        return
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
        try:
            json.loads(line)
        except ValueError as error:
            raise UserError(
                f"{path}:{number}: not a JSON object ({error}); delete the file to search anew; finished runs are kept"
            ) from error
    drop_torn_line(path)


def open_storage(url: str | None, directory: Path) -> BaseStorage:
    """The storage at ``url`` (a database, or ``journal://`` and a file), or the file ``trials.log`` in ``directory``.

    In a database, heartbeats show which workers are alive, and the trials of a dead one are repeated. Raises
    :class:`UserError` when it cannot be opened.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", ExperimentalWarning)  # heartbeats and retries are called that for years
    if url is None:
        path = directory / "trials.log"
        with explain_write_errors(path):
            directory.mkdir(parents=True, exist_ok=True)
            lock: Any = FileLocking(directory / ".lock")  # Optuna's own base class has a private name
            with FileLock(directory / ".lock"):
                _mend(path)
            return JournalStorage(JournalFileBackend(str(path), lock))
    if url.startswith(SCHEME):
        return open_journal(url)
    if "://" not in url:
        raise UserError(
            "storage= is not the URL of a database, such as postgresql+psycopg://USER:PASSWORD@HOST/NAME, "
            "or of a file that machines share, journal:///DIRECTORY/FILE.log"
        )
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
                f"storage={_shown(url)}: {error}; {install(extra)} brings a driver "
                "(postgresql+psycopg://..., mysql+pymysql://...)"
            ) from error
        except Exception as error:  # SQLAlchemy's and the drivers' own
            tried += 1
            at_once = isinstance(error, IntegrityError) or "already exists" in str(error)
            if at_once and tried < ATTEMPTS:  # another worker makes the tables just now
                sleep(1.0)
                continue
            told = reason(error, url)
            raise UserError(f"storage={_shown(url)} cannot be opened: {told}") from None


def reason(error: Exception, url: str) -> str:
    """The first line of a driver's message about the database at ``url``, unless a part of a secret occurs in it.

    A driver that has misread a password with an ``@`` or a ``/`` tells the rest of it as a host or a database.
    """
    told = str(error).replace(url, _shown(url)).splitlines() or [""]
    if any(piece in told[0] for piece in _secrets(url)):
        return f"{type(error).__name__}; in a password, write @ / : ? # % as %40 %2F %3A %3F %23 %25"
    return told[0]


def _shown(url: str) -> str:
    return without_secrets(re.sub(r"\s", "_", url))


def _secrets(url: str) -> set[str]:
    """The password and the secrets of the query, as they are written and decoded, in the pieces they may be read as."""
    found = re.findall(r"://[^:/@]*:(.*)@", url)
    found += re.findall(r"(?i)[?&;][^=&;]*(?:pass|pwd|token|secret|key)[^=&;]*=(.*)", url)
    forms = [form for secret in found for form in (secret, unquote_plus(secret))]
    return {piece for form in forms for piece in re.split(r"[@/:?&;#=\s]", form)} - {""}
