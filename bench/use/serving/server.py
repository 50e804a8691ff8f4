"""The process: its sockets, its signals, and how it ends."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from bench.errors import UserError
from bench.use.serving.http import application
from bench.use.serving.service import Service

DRAIN_S = 30  # seconds that requests in flight have when the server ends


class Server(uvicorn.Server):
    """uvicorn without its own signals, which end the process with the signal's status."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def end(self) -> None:
        """Stop taking requests and answer those in flight; when told again, do not wait for them."""
        self.force_exit = self.should_exit
        self.should_exit = True


def bound(host: str, port: int) -> socket.socket:
    """A socket that does not listen yet. Raises :class:`UserError` for an address that cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
    except OSError as error:
        raise _taken(host, port, error) from error
    return made


Ready = Callable[[Server, str], None]


def run(service: Service, place: socket.socket, grpc_port: int | None) -> None:
    """:func:`serve` until SIGTERM or SIGINT, and say where."""

    def ready(server: Server, address: str) -> None:
        for name in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(name, server.end)
        names = " and ".join(one.name for one in service.served)
        print(f"{address} serves {names}; Ctrl-C ends it", file=sys.stderr, flush=True)

    asyncio.run(serve(service, place, grpc_port, ready))


async def serve(service: Service, place: socket.socket, grpc_port: int | None, ready: Ready) -> None:
    """Serve until ``server.end``, then answer what is in flight. ``ready`` gets the server and where it listens.

    ``place`` is a bound socket. Raises :class:`UserError` when a port is taken.
    """
    host, port = place.getsockname()[:2]
    written = f"[{host}]" if ":" in host else host
    try:
        place.listen(2048)
    except OSError as error:
        raise _taken(host, port, error) from error
    told, other = f"http://{written}:{port}", None
    if grpc_port is not None:
        from bench.use.serving import rpc

        other, grpc_port = rpc.server(service, f"{written}:{grpc_port}")
        await other.start()
        told += f" and gRPC at {written}:{grpc_port}"
    config = uvicorn.Config(
        application(service),
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=DRAIN_S,
    )
    server = Server(config)
    working = [asyncio.create_task(batcher.run()) for batcher in service.batchers]
    ready(server, told)
    await server.serve(sockets=[place])
    if other is not None:
        await other.stop(0 if server.force_exit else DRAIN_S)
    for task in working:
        task.cancel()
    for batcher in service.batchers:
        batcher.close()


def _taken(host: str, port: int, error: OSError) -> UserError:
    return UserError(f"cannot listen at {host}, port {port}: {error.strerror or error}; choose another")
