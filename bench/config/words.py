"""A word of the command line, ``KEY=VALUE``: a text is taken as it stands, other values are in Hydra's grammar."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cache, lru_cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from bench.config.run import RunConfig
from bench.errors import UserError, short, shown
from bench.record.serialize import as_override
from bench.setting import NAME
from strategies.chain import JOIN

SHORTHAND = {"data": "data.name", "encoder": "encoder.name"}
_STAGES = "stages="

_IN_QUOTES = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_QUOTED = re.compile(_IN_QUOTES, re.DOTALL)
_ALL_QUOTED = re.compile(rf"\s*(?:{_IN_QUOTES})(?:\s*,\s*(?:{_IN_QUOTES}))*\s*", re.DOTALL)
_NAME = re.compile(rf"\s*({_IN_QUOTES}|[^,]*?)\s*(,|\Z)", re.DOTALL)
_PLAIN = re.compile(r"[\w./:+@~-]+", re.ASCII)
_NO_TEXT = ("true", "false", "null")
_QUOTE = re.compile(r"(\\*)('|\Z)")  # a backslash counts only before a quote, where it must stand twice


def parsed(word: str) -> tuple[str, list[str]]:
    """The full key of a word and its values: several are a sweep, each as a word has it.

    A text setting has one value, however many commas it holds, unless every part stands in quotes. A name
    (:data:`bench.setting.Name`) is a sweep at each comma outside quotes. Anything else is a number, a switch or a list.
    Raises :class:`UserError` for a word that cannot be parsed.
    """
    if "\0" in word or any("\ud800" <= character <= "\udfff" for character in word):
        raise UserError(f"{shown(word)} is not valid UTF-8 text")
    word = _chained(word)
    key, sign, value = word.partition("=")
    if not sign:
        raise UserError(f"{shown(word)} is not an override; write key=value, such as strategy=hardest_neg")
    key = SHORTHAND.get(key.strip(), key.strip())
    if key in _texts():
        return key, _names(key, value) if _texts()[key] else _whole(value)
    found = _override(word)
    values = found.sweep_string_iterator() if found.is_sweep_override() else [found.get_value_element_as_str()]
    return SHORTHAND.get(found.key_or_group, found.key_or_group), list(values)


def text(key: str, value: str, kind: Any) -> str | None:
    """The text that one value of :func:`parsed` stands for. ``kind`` is the setting's type."""
    if value == "null":
        if NoneType not in get_args(kind):
            raise UserError(f"{key}=null is not a text; write {key}=\"'null'\" for this word")
        return None
    if not _QUOTED.fullmatch(value):
        return value
    mark, inner = value[0], value[1:-1]
    return re.sub(rf"(\\+)({mark}|\Z)", lambda found: "\\" * (len(found[1]) // 2) + found[2], inner)


def literal(key: str, word: str) -> Any:
    """The number, switch, text or list that one value of :func:`parsed` stands for."""
    return _override(f"{key}={word}").value()


def written(value: object) -> str:
    """A value as a word has it, a text in quotes where a number or a sweep would be read, or its ends not be seen."""
    if not isinstance(value, str) or not value or (_PLAIN.fullmatch(value) and value.lower() not in _NO_TEXT):
        return as_override(value)
    return quoted(value)


def quoted(value: str) -> str:
    """A text in quotes, as any setting takes it; the inverse of :func:`text`."""
    return f"'{_QUOTE.sub(lambda found: 2 * found[1] + found[2].replace(chr(39), chr(92) + chr(39)), value)}'"


@cache
def _texts() -> dict[str, bool]:
    """The settings that are texts by dotted key, and whether they are names. (Knobs have their strategy's types.)"""
    names = {key for key, kind in settings(RunConfig, extras=True) if _is_name(kind)}
    return {"strategy": True, **{key: key in names for key, kind in settings(RunConfig) if is_text(kind)}}


def settings(kind: Any, prefix: str = "", extras: bool = False) -> Iterator[tuple[str, Any]]:
    """The fields of a configuration's dataclass, and of those in it, with their types by dotted key."""
    hints = get_type_hints(kind, include_extras=extras)
    for f in fields(kind):
        if is_dataclass(hints[f.name]):
            yield from settings(hints[f.name], f"{prefix}{f.name}.", extras)
        else:
            yield prefix + f.name, hints[f.name]


def is_union(kind: Any) -> bool:
    return get_origin(kind) in (Union, UnionType)


def is_text(kind: Any) -> bool:
    """Whether a setting of this type is a text, or a text or nothing."""
    return kind is str or (is_union(kind) and set(get_args(kind)) == {str, NoneType})


def _is_name(kind: Any) -> bool:
    return any(NAME in getattr(part, "__metadata__", ()) for part in (kind, *get_args(kind)))


def _chained(word: str) -> str:
    """``stages=a,b`` is no sweep but one strategy in two stages, ``strategy=a+b``."""
    if not word.startswith(_STAGES):
        return word
    return f"strategy={JOIN.join(word.removeprefix(_STAGES).strip('[]').split(','))}"


def _whole(value: str) -> list[str]:
    return _QUOTED.findall(value) if _ALL_QUOTED.fullmatch(value) else [value]


def _names(key: str, value: str) -> list[str]:
    if re.search(r"[\x00-\x1f\x7f-\x9f]", value):
        raise UserError(f"{key}={shown(value)} has a control character; a name is one line of text")
    found = []
    for part in _NAME.finditer(value):
        found.append(part[1])
        if not part[2]:
            break
    if any(part in ("", "''", '""') for part in found):
        raise UserError(f"{key}={short(value)} has an empty name; write {key}=NAME, or leave the word out")
    return found


@lru_cache(4096)  # the runs of a sweep share most of their words
def _override(word: str) -> Override:
    """A word in Hydra's grammar, of which only plain values and comma lists are taken."""
    if "${" in word:
        raise UserError(f"{shown(word)}: references such as ${{...}} are not possible; write the value")
    if "(" in _QUOTED.sub("", word):
        raise UserError(f"{shown(word)}: only comma sweeps are supported, such as seed=1,2,3")
    try:
        found = _parser().parse_override(word)
    except (HydraException, ValueError, RecursionError) as error:
        if word.endswith(","):
            raise UserError(
                f"{shown(word)} ends with a comma; write a list without spaces, such as seed=1,2"
            ) from error
        reason = short(str(error).partition("\n")[0])
        raise UserError(
            f"{shown(word)} cannot be parsed ({reason}); put quotes around values with special characters: "
            "\"runs_dir='my dir'\""
        ) from error
    if found.type is None or found.type.name != "CHANGE" or found.package is not None:
        raise UserError(f"{shown(word)}: write key=value; adding and deleting keys are not possible")
    return found


@cache
def _parser() -> OverridesParser:
    return OverridesParser.create()
