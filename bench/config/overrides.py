"""From the words of the command line to configurations: sweeps, values, and errors that say what would fit."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from functools import cache
from itertools import product
from types import NoneType
from typing import Any, cast, get_args, get_origin, get_type_hints

from bench.config.run import RunConfig
from bench.config.words import is_text, is_union, literal, parsed, quoted, settings, text
from bench.errors import UserError, nearest, short, shown
from bench.record.identity import flat
from strategies import Strategy, additions, find, registered

DEFAULT_STRATEGY = "in_batch"
PERSONAL = ("runs_dir=", "track=", "keep=")  # of the person who runs it, and no part of what is run
_TYPES = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", NoneType: "null"}


def expand(overrides: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The single runs of overrides with comma sweeps; the last sweep varies fastest.

    ``["strategy=a,b", "seed=1,2"]`` gives four tuples; ``stages=a,b`` is not a sweep but one
    strategy in two stages, the same as ``strategy=a+b``. Raises :class:`UserError` for a word that cannot be parsed.
    """
    choices: dict[str, list[str]] = {}
    for word in overrides:
        key, values = parsed(word)
        if key in choices:
            stages = key == "strategy" and any(other.startswith("stages=") for other in overrides)
            both = "; stages=A,B is another way to write strategy=A+B" if stages else ""
            raise UserError(f"{key} is given twice; the second time as {shown(word)}{both}")
        choices[key] = [f"{key}={value}" for value in values]
    yield from product(*choices.values())


def command_line(overrides: Sequence[str]) -> str:
    """The shortest command that repeats a run with these overrides on this machine, for a POSIX shell."""
    return " ".join(["bench", "run", *map(for_shell, (w for w in overrides if not w.startswith(PERSONAL)))])


def for_shell(word: str) -> str:
    """A word for the shell; one that has quotes of its own stays readable in double ones."""
    return f'"{word}"' if "'" in word and not set(word) & set('"$`\\!') else shlex.quote(word)


def resolve(overrides: Sequence[str]) -> RunConfig:
    """The configuration of one run. Raises :class:`UserError` with the key, the value and what is allowed."""
    words = _first(overrides)
    strategy = _strategy(words.pop("strategy", DEFAULT_STRATEGY))
    words = _placed(words, strategy)
    _check_keys(words, strategy)
    kinds = _kinds(strategy)
    return _built(strategy, {key: _typed(key, word, kinds[key]) for key, word in words.items()})


def rebuild(tree: Mapping[str, Any]) -> RunConfig:
    """The configuration whose recorded tree this is: the inverse of :meth:`RunConfig.tree`.

    A setting that is newer than the record gets its default. Raises :class:`UserError` for an unknown setting, and for
    a value of another type.
    """
    recorded = dict(flat(tree))
    strategy = _strategy(quoted(str(recorded.pop("strategy.name", ""))))
    kinds = _kinds(strategy)
    if unknown := recorded.keys() - kinds.keys():
        raise UserError(f"the record is of another version and has unknown settings: {', '.join(sorted(unknown))}")
    return _built(strategy, {key: _checked(key, f"{v}", v, kinds[key]) for key, v in recorded.items()})


def _built(strategy: type[Strategy], values: Mapping[str, Any]) -> RunConfig:
    """The configuration with ``values`` by dotted key, and defaults for the rest."""

    def part(kind: Any, prefix: str) -> Any:
        hints = {**get_type_hints(kind), **({"strategy": strategy} if kind is RunConfig else {})}
        given = {}
        for f in fields(kind):
            key = prefix + f.name
            if is_dataclass(hints[f.name]):
                given[f.name] = part(hints[f.name], f"{key}.")
            elif key in values:
                given[f.name] = values[key]
        return kind(**given)

    try:
        return cast(RunConfig, part(RunConfig, ""))
    except ValueError as error:
        raise UserError(str(error)) from error


def _typed(key: str, word: str, kind: Any) -> Any:
    """The value of a setting of type ``kind`` from its word. Raises :class:`UserError` for a word of another type."""
    if is_text(kind):
        return text(key, word, kind)
    return _checked(key, word, literal(key, word), kind)


def _checked(key: str, word: str, value: Any, kind: Any) -> Any:
    """``value`` in the type ``kind``, lists as tuples. Raises :class:`UserError`, which shows ``word``, for another."""
    for one in get_args(kind) if is_union(kind) else (kind,):
        with suppress(TypeError, OverflowError):
            return _converted(value, one)
    raise UserError(f"{key}={short(word)} is not {_type_name(kind)}")


def _converted(value: Any, kind: Any) -> Any:
    """Raises ``TypeError`` for a value of another type, and ``OverflowError`` for a number that no float can be."""
    if get_origin(kind) is tuple:
        if isinstance(value, list | tuple):
            return tuple(_converted(part, get_args(kind)[0]) for part in value)
    elif isinstance(value, bool) == (kind is bool) and isinstance(value, (int, float) if kind is float else kind):
        return float(value) if kind is float else value
    raise TypeError


def sources(config: RunConfig, overrides: Sequence[str]) -> list[tuple[str, Any, str]]:
    """(key, value, origin) for every value of ``config``, which results from ``overrides``."""
    given = _placed(_first(overrides), type(config.strategy))
    knobs = {f"strategy.{k.name}": f"default ({k.source})" for k in config.strategy.knobs()}
    plain = dict(flat(RunConfig(config.strategy).tree()))
    knobs |= {
        f"encoder.{name}": "the encoder's directory"
        for name, value in vars(config.settled_encoder()).items()
        if getattr(config.encoder, name) != value != plain[f"encoder.{name}"]
    }
    rows = []
    for key, value in flat(config.tree()):
        key_given = "strategy" if key == "strategy.name" else key
        rows.append((key, value, "command line" if key_given in given else knobs.get(key, "default")))
    return rows


def _first(overrides: Sequence[str]) -> dict[str, str]:
    """The words of the first run by their full keys."""
    return dict(word.split("=", 1) for word in next(iter(expand(overrides))))


def _strategy(given: str) -> type[Strategy]:
    """The strategy class. Raises :class:`UserError` with the nearest names for an unknown one."""
    name = text("strategy", given, str)
    assert name is not None
    try:
        return find(name)
    except KeyError as error:
        unknown = str(error.args[0])
        if not unknown:
            raise UserError(f"strategy={name} has an empty name; write stages as strategy=A+B") from None
        if unknown.endswith("(a chain itself)"):
            raise UserError(f"strategy={name}: {unknown} cannot be a part of another; name its stages") from None
        if name in additions():
            raise UserError(f"strategy={name}: {name} is an addition to a loss; write strategy=NAME:{name}") from None
        where = "" if unknown == name else f" in {name}"
        known = {**registered(), **additions()}
        raise UserError(f"strategy={unknown}{where} is not registered{nearest(unknown, known)}") from None


def _placed(words: Mapping[str, str], strategy: type[Strategy]) -> dict[str, str]:
    """The words, with the stage put into the key of a chain's knob that only one stage has: ``strategy.KNOB``."""
    known, placed = _kinds(strategy), dict[str, str]()
    for key, word in words.items():
        full, (group, _, knob) = key, key.partition(".")
        if group == "strategy" and knob and key not in known:
            stages = [one for one in known if one.startswith("strategy.") and one.endswith(f".{knob}")]
            full = stages[0] if len(stages) == 1 else key
        if full in placed:
            raise UserError(f"{full} is given twice; the second time as {shown(f'{key}={word}')}")
        placed[full] = word
    return placed


@cache
def _kinds(strategy: type[Strategy]) -> dict[str, Any]:
    """The type of every setting by its dotted key, the knobs being those of ``strategy``."""
    shared = {key: kind for key, kind in settings(RunConfig) if not key.startswith("strategy.")}
    return {**shared, **dict(settings(strategy, "strategy."))}


def _check_keys(given: Iterable[str], strategy: type[Strategy]) -> None:
    known = _kinds(strategy)
    groups = {key.partition(".")[0] for key in known}
    for key in given:
        if key == "strategy.name":
            raise UserError("write strategy=NAME instead of strategy.name=NAME")
        if key not in known:
            group, _, leaf = key.rpartition(".")
            knob = group.partition(".")[0] == "strategy"
            what = f"strategy {strategy.name} has no knob" if knob else "there is no setting"
            initials = "".join(part[:1] for part in leaf.split("_")) if "_" in leaf else None  # lr
            near = (
                [k for k in known if k.rpartition(".")[2] == leaf]
                or [k for k in known if k.rpartition(".")[2] == initials]
                or [k for k in known if group and k.startswith(group + ".")]
                or get_close_matches(key, [*known, *groups], cutoff=0.5)
                or groups
            )
            raise UserError(f"{what} {key!r}{nearest(key, near)}")


def _type_name(kind: Any) -> str:
    """What a value of a type looks like, for an error message."""
    if kind in _TYPES:
        return _TYPES[kind]
    if args := [arg for arg in get_args(kind) if arg is not Ellipsis]:
        return "a list of whole numbers, such as [1,5]" if args == [int] else " or ".join(map(_type_name, args))
    return str(kind)
