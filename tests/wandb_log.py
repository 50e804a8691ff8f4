"""Read W&B's transaction log (``*.wandb``) without W&B's own reader.

A LevelDB log: after a file header of 7 bytes come blocks of 32 KiB; a record is a header (CRC-32 of type and
data, length u16, type u8; little-endian) and its data, cut at block ends into first, middle and last pieces.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK, HEADER = 32768, 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def payloads(path: Path) -> Iterator[bytes]:
    """The whole records of a log, in order; checks every piece's checksum."""
    raw = path.read_bytes()
    assert raw[:4] == b":W&B"
    at, parts = HEADER, []
    while at < len(raw):
        if BLOCK - at % BLOCK < HEADER:  # too little is left of the block for another piece
            at += BLOCK - at % BLOCK
            continue
        checksum, length, kind = struct.unpack("<IHB", raw[at : at + HEADER])
        data = raw[at + HEADER : at + HEADER + length]
        assert zlib.crc32(data, zlib.crc32(bytes([kind]))) == checksum
        at += HEADER + length
        parts.append(data)
        assert (kind in (FULL, FIRST)) == (len(parts) == 1)
        if kind in (FULL, LAST):
            yield b"".join(parts)
            parts = []


def read(path: Path) -> dict[str, Any]:
    """The run of a log: its identity, ``config``, ``history`` rows, ``summary``, ``artifacts`` and ``exit`` code."""
    from wandb.proto.wandb_internal_pb2 import Record

    found: dict[str, Any] = {"config": {}, "history": [], "summary": {}, "exit": None, "artifacts": []}
    for payload in payloads(path):
        record = Record.FromString(payload)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = record.run
            found |= {
                "id": run.run_id,
                "group": run.run_group,
                "tags": list(run.tags),
                "job_type": run.job_type,
            }
            found["config"] |= values(run.config.update)
        elif kind == "history":
            found["history"].append(values(record.history.item))
        elif kind == "summary":
            found["summary"] |= values(record.summary.update)
        elif kind == "artifact":
            found["artifacts"].append((record.artifact.type, record.artifact.name))
        elif kind == "exit":
            found["exit"] = record.exit.exit_code
    return found


def values(items: Any) -> dict[str, Any]:
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}
