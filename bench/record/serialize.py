"""Any configuration, metric or event as plain JSON values."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from typing import Any


def serialize(value: Any) -> Any:
    """``value`` in JSON's own types: a numpy or torch scalar is a number, a number not finite is None.

    Raises ``TypeError`` for what has no plain form, such as an array.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): serialize(entry) for key, entry in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [serialize(entry) for entry in value]
    if isinstance(value, PathLike):
        return fspath(value)
    if getattr(value, "ndim", None) == 0:
        return serialize(value.item())
    raise TypeError(f"{type(value).__name__} has no plain JSON form: {value!r}")


def canonical(value: Any) -> str:
    """One JSON text for equal values: keys sorted, no spaces, and 30 the same as 30.0."""
    return json.dumps(_whole(serialize(value)), sort_keys=True, separators=(",", ":"), allow_nan=False)


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _whole(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_whole(entry) for entry in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def as_override(value: object) -> str:
    """A value as the command line takes it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(as_override, value)) + "]"
    if isinstance(value, float) and float(short := f"{value:g}") == value:
        return short
    return str(value)
