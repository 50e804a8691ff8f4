"""Whether a value read from a file has the type that the program expects there, and where it does not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

DEEP = 32  # levels of mappings and lists in a file of ours
LARGEST = 2**63  # beyond any whole number in one
_SHOWN = 60  # characters of a value in a message

_NAMES = {Mapping: "a mapping", str: "text", int: "a whole number", float: "a number", NoneType: "nothing"}


def misfit(value: Any, kind: Any, name: str) -> str | None:
    """Why ``value``, called ``name``, is not of the type ``kind``, or None: ``"cost.train_s='x' is not a number"``.

    ``kind`` is a plain type, a union, ``Literal``, ``Any``, ``Mapping[str, ...]``, ``list[...]`` or a ``TypedDict``,
    of which a mapping may have more keys.
    """
    if kind is Any:
        return None
    origin, args = _parts(kind)
    if origin in (Union, UnionType):
        return _of_union(value, args, name)
    if is_typeddict(kind):
        return _of_typed_dict(value, kind, name)
    if origin is Literal:
        fits = isinstance(value, str) and value in args
    elif isinstance(value, bool):
        fits = False
    else:
        fits = isinstance(value, (int, float) if origin is float else origin)
    if not fits:
        return f"{name}={told(value)} is not {_name(kind)}"
    if origin is Mapping and args and args[1] is not Any:
        return _first(misfit(entry, args[1], f"{name}.{_key(key)}") for key, entry in value.items())
    if origin is list:
        return _first(misfit(entry, args[0], f"{name}[{place}]") for place, entry in enumerate(value))
    return None


def unusual(value: Any, name: str = "", depth: int = 0) -> str | None:
    """Why a value of a JSON file is none that this program writes: a huge number or one level too deep; else None."""
    if depth > DEEP:
        return f"{name[:_SHOWN]}... is nested more than {DEEP} levels deep"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{name} is not a finite number"
    if isinstance(value, int) and not -LARGEST < value < LARGEST:
        return f"{name} is not a number of 64 bits"
    below: Sequence[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        below = [(f"{name}.{_key(key)}" if name else _key(key), entry) for key, entry in value.items()]
    elif isinstance(value, list):
        below = [(f"{name}[{place}]", entry) for place, entry in enumerate(value)]
    return _first(unusual(entry, of, depth + 1) for of, entry in below)


def _key(key: Any) -> str:
    """A key for a message, on one line."""
    return str(key) if str(key).isprintable() else repr(key)[1:-1]


def told(value: Any) -> str:
    """A value for a message, and not all of a long one."""
    said = "a number of many digits" if isinstance(value, int) and abs(value) > LARGEST else repr(value)
    return said if len(said) <= _SHOWN else f"{said[:_SHOWN]}..."


def _of_union(value: Any, args: Sequence[Any], name: str) -> str | None:
    found = []
    for arg in args:
        why = misfit(value, arg, name)
        if why is None:
            return None
        found.append(why)
    inside = next((why for why in found if not why.startswith(f"{name}=")), None)  # of one of its entries
    return inside or f"{name}={told(value)} is not {' or '.join(map(_name, args))}"


def _of_typed_dict(value: Any, kind: Any, name: str) -> str | None:
    if not isinstance(value, Mapping):
        return f"{name or 'the content'}={told(value)} is not a mapping"
    place = f"{name}." if name else ""
    if missing := sorted(kind.__required_keys__ - value.keys()):
        return f"{place}{missing[0]} is missing"
    return _first(misfit(value[key], of, place + key) for key, of in _hints(kind).items() if key in value)


@cache
def _parts(kind: Any) -> tuple[Any, tuple[Any, ...]]:
    return get_origin(kind) or kind, get_args(kind)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _first(found: Any) -> str | None:
    return next((why for why in found if why is not None), None)


def _name(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(get_args(kind))
    if is_typeddict(kind) or (get_origin(kind) is Mapping and get_args(kind)[1] is Any):
        return "a mapping"
    if get_origin(kind) is Mapping:
        return f"a mapping to {_name(get_args(kind)[1])}"
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(map(_name, get_args(kind)))
    return "a list" if get_origin(kind) is list else _NAMES[kind]
