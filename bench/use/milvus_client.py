"""Reaching Milvus: what addresses mean, its package, and its errors in one line."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from bench.errors import UserError, install, shown
from bench.setting import place_named

FILE, SERVERS = "milvus://", ("http://", "https://")


def uri_of(address: str) -> str:
    """What the client calls an address."""
    if address.startswith(SERVERS):
        return address
    file = address.removeprefix(FILE)
    if file == address or not Path(file).name.removesuffix(".db") or not file.endswith(".db"):
        raise UserError(
            f"{shown(address)} is no store: give milvus://NAME.db for a file or http://HOST:19530 for a server"
        )
    return str(place_named(file))


def package(lite: bool) -> Any:
    """pymilvus, which then logs nothing: the error that it raises says the same."""
    try:
        import pymilvus

        if lite:
            import milvus_lite  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"a store of Milvus needs the packages pymilvus and milvus-lite: {install('milvus')}"
        ) from error
    for name in ("pymilvus", "milvus_lite", "grpc"):  # the last: of calls that milvus-lite does not have
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    return pymilvus


def in_one_line(error: BaseException) -> str:
    """What Milvus says, in one line."""
    details = getattr(error, "details", None)  # of gRPC
    told = details() if callable(details) else getattr(error, "message", None)
    return " ".join(str(told or error).split())
