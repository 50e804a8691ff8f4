"""A sign of life for a trial, so that other machines leave it to the process that is at it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from optuna.storages import BaseStorage, RDBStorage

from bench.study.storage import reason

log = logging.getLogger(__name__)


def trial_id(storage: BaseStorage, study: str, number: int) -> int:
    """The id that ``storage`` keeps the trial ``number`` of the study of that name under.

    Raises ``KeyError`` when there is no such study or trial.
    """
    return storage.get_trial_id_from_study_id_trial_number(storage.get_study_id_from_name(study), number)


@contextmanager
def heartbeat(storage: BaseStorage, study: str, number: int) -> Iterator[None]:
    """Record a heartbeat of a trial at once and then every interval of ``storage``, until the block ends.

    Only a database keeps heartbeats; elsewhere this does nothing. A beat that the database refuses is logged and
    the next one is tried, since one that is missing costs nothing within the grace period.
    """
    interval = storage.get_heartbeat_interval() if isinstance(storage, RDBStorage) else None
    if interval is None:
        yield
        return
    assert isinstance(storage, RDBStorage)
    beating, ended = trial_id(storage, study, number), Event()
    storage.record_heartbeat(beating)
    thread = Thread(target=_beat, args=(storage, beating, interval, ended), name=f"heartbeat {number}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _beat(storage: RDBStorage, beating: int, interval: int, ended: Event) -> None:
    while not ended.wait(interval):
        try:
            storage.record_heartbeat(beating)
        except Exception as error:  # SQLAlchemy's and the drivers' own
            log.warning("a heartbeat could not be recorded: %s", reason(error, str(storage.url)))
