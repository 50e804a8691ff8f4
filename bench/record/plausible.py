"""Values that no run can have, whatever their type: each check names field and value."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from bench.record.schema import SCHEMAS
from bench.record.shape import misfit, told

MOST = 10**15  # seconds, bytes, texts: nobody spends more
ROUNDING = 1e-6  # of a mean of percentages
_PARTS = ("data", "encoder", "train", "budget", "mining", "index", "eval")  # of a configuration
_COUNTS = Mapping[str, int]


def implausible(record: Mapping[str, Any]) -> str | None:
    """What is wrong with the first field of a record, by name, whose value no run can have; None if nothing is."""
    return next(_found(record), None)


def _found(record: Mapping[str, Any]) -> Iterator[str]:
    yield from _misfits(record)
    lowest = schema.lowest if (schema := SCHEMAS.get(record["evaluation"])) else 0.0
    for name in ("metrics", "baseline_metrics"):
        percentage = f"a percentage from {lowest:g} to 100"
        yield from _outside(name, record[name] or {}, 100 + ROUNDING, percentage, lowest)
    yield from _outside("cost", record["cost"], MOST, f"a number from 0 to {MOST:,}")
    yield from _outside("data.counts", record["data"]["counts"], MOST, "a count")
    if not 0 <= record["seed"] < 2**63:
        yield f"seed={told(record['seed'])} is not a whole number from 0 to 2**63"
    for name in ("started", "finished"):
        if record[name] is not None and not _is_time(record[name]):
            yield f"{name}={told(record[name])} is not a time in ISO 8601"
    if not _is_command(record["command"]):
        yield f"command={told(record['command'])} is not a command of bench run"
    if record["evaluation"] not in SCHEMAS:
        yield f"evaluation={told(record['evaluation'])} is not one of {', '.join(SCHEMAS)}"


def _misfits(record: Mapping[str, Any]) -> Iterator[str]:
    """Types of what is in the fields that are mappings to anything."""
    data, config = record["data"], record["config"]
    yield from (f"data.{name} is missing" for name in ("name", "fingerprint", "counts") if name not in data)
    kinds: dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
        "data": (data, {"name": str, "fingerprint": str, "counts": _COUNTS, "truncated": _COUNTS, "seen_queries": int}),
        "encoder": (record["encoder"], {"name": str}),
        "config": (config, dict.fromkeys(_PARTS, Mapping[str, Any])),
        "config.train": (config.get("train", {}), {"batch_size": int, "init_from": str | None}),
        "config.index": (config.get("index", {}), {"engine": str}),
        "environment": (record["environment"], {"packages": Mapping[str, Any] | None}),
        "selection": (record["selection"], {"steps": int | None}),
        "training": (record["training"], {"telemetry": Mapping[str, float | None], "warnings": list[str]}),
    }
    for part, (values, expected) in kinds.items():
        for name, kind in expected.items():
            if name in values and (why := misfit(values[name], kind, f"{part}.{name}")):
                yield why


def _outside(
    name: str, values: Mapping[str, float | None], highest: float, what: str, lowest: float = 0.0
) -> Iterator[str]:
    for key, value in values.items():
        if value is not None and not lowest - ROUNDING <= value <= highest:  # a NaN is written as nothing
            yield f"{name}.{key}={told(value)} is not {what}"


def _is_time(moment: str) -> bool:
    try:
        datetime.fromisoformat(moment)
    except ValueError:
        return False
    return True


def _is_command(command: str) -> bool:
    try:
        return shlex.split(command)[:2] == ["bench", "run"]
    except ValueError:
        return False
