"""Servers for tests: the command in a process of its own, and a service in a thread whose encoder waits for a gate."""

from __future__ import annotations

import asyncio
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from tiny import bench, words_for, write_data

from bench.data.tokens import Tokens
from bench.model.config import Reading


def toy_runs(place: Path) -> tuple[Path, list[str]]:
    """The directory of two runs on one data set, and their ids."""
    words = words_for(write_data(place / "data"), place / "runs") | {"eval.untrained": "false"}
    assert bench("run", *(f"{key}={value}" for key, value in words.items()), "strategy=in_batch,hardest_neg") == 0
    return place / "runs", sorted((path.parent.name for path in (place / "runs").glob("*/record.json")), reverse=True)


@dataclass(frozen=True)
class Running:
    """A server that runs: the addresses of HTTP and of gRPC, and its process."""

    url: str
    rpc: str | None
    process: subprocess.Popen[str]


@contextmanager
def running(*words: str) -> Iterator[Running]:
    """``bench serve WORDS`` at free ports, until the block ends."""
    command = [sys.executable, "-m", "bench", "serve", *words, "--port", "0", "--device", "cpu"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    told = []
    for line in process.stderr:
        told.append(line)
        if found := re.match(r"(http://\S+)(?: and gRPC at (\S+))? serves ", line):
            break
    else:
        raise AssertionError("".join(told))
    # What it says later is read, too, so that it never waits for a reader.
    threading.Thread(target=process.stderr.read, daemon=True).start()
    try:
        yield Running(found[1], found[2], process)
    finally:
        process.terminate()
        process.wait(60)


@dataclass
class Gated:
    """An encoder of words that waits before each batch until ``gate`` is set; ``seen`` are the texts it encoded."""

    gate: threading.Event = field(default_factory=threading.Event)
    seen: list[str] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    broken: bool = False

    def vectors(self, texts: Sequence[str], role: str | None = None, *, raw: bool = False) -> Any:
        assert self.gate.wait(60)
        if self.broken:
            raise RuntimeError("no memory")
        self.seen += texts
        self.batches.append(len(texts))
        found = np.array([[len(text), 3.0, 4.0] for text in texts], dtype=np.float32)
        return found if raw else found / np.linalg.norm(found, axis=1, keepdims=True)

    def tokens(self, texts: Sequence[str], role: str | None = None) -> Tokens:
        lengths = [min(len(text.split()), 8) for text in texts]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        long = np.array([len(text.split()) > 8 for text in texts])
        return Tokens(np.zeros(offsets[-1], np.int32), offsets, long)


@contextmanager
def gated(key: str | None = None, grpc: bool = False, **limits: Any) -> Iterator[Any]:
    """A service at free ports whose ``encoder`` waits for its gate: ``url``, ``rpc``, ``encoder``, ``service``."""
    from bench.use.serving.batcher import Batcher, Limits
    from bench.use.serving.metrics import Metrics
    from bench.use.serving.served import Served
    from bench.use.serving.server import Server, bound, serve
    from bench.use.serving.service import Service

    encoder, metrics, allowed = Gated(), Metrics(), Limits(**limits)
    reading = Reading(8, "")
    served = Served("gated", encoder, None, 3, "float32", "mean", reading, reading)
    service = Service([served], [Batcher(encoder, allowed, metrics)], metrics, allowed, key)
    started: queue.Queue[tuple[asyncio.AbstractEventLoop, Server, str]] = queue.Queue()

    def ready(server: Server, address: str) -> None:
        started.put((asyncio.get_running_loop(), server, address))

    def work() -> None:
        asyncio.run(serve(service, bound("127.0.0.1", 0), 0 if grpc else None, ready))

    thread = threading.Thread(target=work)
    thread.start()
    loop, server, address = started.get(timeout=60)
    url, _, rpc = address.partition(" and gRPC at ")
    try:
        yield SimpleNamespace(url=url, rpc=rpc, encoder=encoder, service=service)
    finally:
        encoder.gate.set()
        loop.call_soon_threadsafe(server.end)
        thread.join(60)
        assert not thread.is_alive()
