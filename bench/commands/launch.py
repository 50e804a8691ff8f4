"""``bench run devices=N``: one process a device. When one of them ends early, the others are ended too."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from time import monotonic, sleep
from typing import IO

from bench import cores
from bench.errors import UserError

POLL_S = 0.2
GRACE_S = 10.0  # for the others to end before they are killed


def launch(words: Sequence[str], devices: int) -> int:
    """Run ``bench run WORDS`` in ``devices`` processes that train together; the exit status of the first that fails.

    Rank 0 writes and speaks; what another one says on standard error is shown where it is the one that fails. All end
    when this process does, in any way. Raises :class:`UserError` when a rank was killed.
    """
    shared = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "WORLD_SIZE": str(devices),
        "OMP_NUM_THREADS": str(max(1, cores.available() // devices)),
    }
    with ExitStack() as files:
        said = [files.enter_context(tempfile.TemporaryFile()) for _ in range(devices)]
        return _watched(words, shared, said)


def _watched(words: Sequence[str], shared: Mapping[str, str], said: Sequence[IO[bytes]]) -> int:
    from bench.train.processes import WATCHES

    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", "bench", "run", *words],
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank), WATCHES: "1"},
            stdin=subprocess.PIPE,  # closed by the kernel when this process ends, in any way
            stdout=None if rank == 0 else subprocess.DEVNULL,
            stderr=None if rank == 0 else said[rank],
        )
        for rank in range(len(said))
    ]
    try:
        return _watch(ranks, said)
    finally:
        _end(ranks)


def _watch(ranks: Sequence[subprocess.Popen[bytes]], said: Sequence[IO[bytes]]) -> int:
    from bench.train.processes import LEFT_ALONE

    alone_since: float | None = None
    while True:
        states = [rank.poll() for rank in ranks]
        if all(state == 0 for state in states):
            return 0
        failed = next((rank for rank, state in enumerate(states) if state not in (None, 0, LEFT_ALONE)), None)
        if failed is not None:
            return _told(failed, states[failed] or 0, said)
        if LEFT_ALONE in states:  # soon the one that left is seen to have ended
            alone_since = alone_since or monotonic()
            if monotonic() - alone_since > GRACE_S:
                raise UserError("the processes of the run lost each other; the same command goes on")
        sleep(POLL_S)


def _told(failed: int, state: int, said: Sequence[IO[bytes]]) -> int:
    """Say why a process failed, where it has not said so itself; its exit status."""
    if state < 0:
        raise UserError(f"rank {failed} of {len(said)} was killed (signal {-state}); the same command goes on")
    if failed:
        said[failed].seek(0)
        sys.stderr.write(said[failed].read().decode(errors="replace"))
    return state


def _end(ranks: Sequence[subprocess.Popen[bytes]]) -> None:
    for rank in ranks:
        if rank.poll() is None:
            rank.terminate()
    for rank in ranks:
        try:
            rank.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            rank.kill()


def _free_port() -> int:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return int(place.getsockname()[1])
