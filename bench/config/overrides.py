"""From command-line overrides to configurations: Hydra's override grammar over frozen dataclasses."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import MISSING, field, fields, is_dataclass, make_dataclass
from difflib import get_close_matches
from functools import cache
from itertools import product
from types import NoneType
from typing import Any, cast, get_args, get_type_hints

from hydra import compose, initialize
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import MISSING as MISSING_VALUE
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException, ValidationError

from bench.config.run import RunConfig
from bench.errors import UserError, nearest
from bench.record.identity import flat
from strategies import Strategy, find, registered
from strategies.chain import JOIN

SHORTHAND = {"data": "data.name", "encoder": "encoder.name"}
STAGES = "stages="
DEFAULT_STRATEGY = "in_batch"
_TYPES = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", NoneType: "null"}


@cache
def _schema() -> type:
    """What Hydra composes: the fields of :class:`RunConfig`, the strategy being a group."""
    kinds = get_type_hints(RunConfig)
    shared: list[tuple[str, Any, Any]] = [
        (f.name, kinds[f.name], field(default_factory=f.default_factory) if f.default is MISSING else f.default)
        for f in fields(RunConfig)
        if f.name != "strategy"
    ]
    defaults = field(default_factory=lambda: [{"strategy": DEFAULT_STRATEGY}, "_self_"])
    own = [("defaults", list[Any], defaults), ("strategy", Any, field(default=MISSING_VALUE))]
    return make_dataclass("Schema", [*own, *shared])


def expand(overrides: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The single runs of overrides with comma sweeps; the last sweep varies fastest.

    ``["strategy=a,b", "seed=1,2"]`` gives four tuples; ``stages=a,b`` is not a sweep but one
    strategy in two stages, the same as ``strategy=a+b``. Raises :class:`UserError` for a word that cannot be parsed.
    """
    choices: list[list[str]] = []
    seen: set[str] = set()
    for parsed in _parse(_chained(word) for word in overrides):
        key = SHORTHAND.get(parsed.key_or_group, parsed.key_or_group)
        if key in seen:
            raise UserError(f"{key} is given twice; the second time as {parsed.input_line}")
        seen.add(key)
        if parsed.is_sweep_override():
            if not parsed.is_choice_sweep():
                raise UserError(f"{parsed.input_line}: only comma sweeps are supported, such as seed=1,2,3")
            values = list(parsed.sweep_string_iterator())
        else:
            values = [parsed.get_value_element_as_str()]
        choices.append([f"{key}={value}" for value in values])
    yield from product(*choices)


def _chained(word: str) -> str:
    if not word.startswith(STAGES):
        return word
    return f"strategy={JOIN.join(word.removeprefix(STAGES).strip('[]').split(','))}"


def command_line(overrides: Sequence[str]) -> str:
    """The shortest command that repeats a run with these overrides on this machine."""
    return " ".join(["bench", "run", *(_quoted(w) for w in overrides if not w.startswith(("runs_dir=", "track=")))])


def _quoted(word: str) -> str:
    """A word for the shell; one that has quotes of its own stays readable in double ones."""
    return f'"{word}"' if "'" in word and not set(word) & set('"$`\\!') else shlex.quote(word)


def resolve(overrides: Sequence[str]) -> RunConfig:
    """The configuration of one run. Raises :class:`UserError` with the key, the value and what is allowed."""
    overrides = next(iter(expand(overrides)))
    store = ConfigStore.instance()
    store.store(name="run", node=_node(_schema()))
    strategy = _strategy(overrides)
    overrides = _placed(overrides, strategy)
    store.store(group="strategy", name=strategy.name, node=_node(strategy))
    _check_keys(overrides, strategy)
    GlobalHydra.instance().clear()
    try:
        with initialize(version_base=None, config_path=None):
            tree = compose(config_name="run", overrides=list(overrides))
        nodes = {
            f.name: OmegaConf.to_object(tree[f.name]) if OmegaConf.is_config(tree[f.name]) else tree[f.name]
            for f in fields(RunConfig)
        }
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(_reason(error, overrides, strategy)) from error
    except ValueError as error:
        raise UserError(str(error)) from error
    config = RunConfig(**{name: _tuples(node) for name, node in nodes.items()})
    for key, value in flat(config.tree()):
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{key}={value} is not a finite number")
    return config


def rebuild(tree: dict[str, Any]) -> RunConfig:
    """The configuration whose recorded tree this is: the inverse of :meth:`RunConfig.tree`.

    A setting that is newer than the record gets its default. Raises :class:`UserError` for an unknown setting.
    """
    base = resolve([f"strategy={tree['strategy']['name']}"])
    unknown = {key for key, _ in flat(tree)} - {key for key, _ in flat(base.tree())}
    if unknown:
        raise UserError(f"the record is of another version and has unknown settings: {', '.join(sorted(unknown))}")
    return cast(RunConfig, _filled(base, tree))


def _filled(node: Any, tree: dict[str, Any]) -> Any:
    """A configuration like ``node`` with the values of a recorded tree."""
    values = {}
    for f in fields(node):
        part = getattr(node, f.name)
        value = tree.get(f.name, {} if is_dataclass(part) else part)
        values[f.name] = (
            _filled(part, value) if is_dataclass(part) else tuple(value) if isinstance(value, list) else value
        )
    return type(node)(**values)


def sources(config: RunConfig, overrides: Sequence[str]) -> list[tuple[str, Any, str]]:
    """(key, value, origin) for every value of ``config``, which results from ``overrides``."""
    placed = _placed(next(iter(expand(overrides))), type(config.strategy))
    given = {line.partition("=")[0] for line in placed}
    knobs = {f"strategy.{k.name}": f"default ({k.source})" for k in config.strategy.knobs()}
    rows = []
    for key, value in flat(config.tree()):
        key_given = "strategy" if key == "strategy.name" else key
        rows.append((key, value, "command line" if key_given in given else knobs.get(key, "default")))
    return rows


@cache
def _node(schema: type) -> DictConfig:
    """A dataclass as OmegaConf's typed tree, made writable: OmegaConf makes frozen dataclasses read-only."""

    def free(node: Any) -> None:
        if isinstance(node, DictConfig):
            OmegaConf.set_readonly(node, False)
            if not node._is_none() and not node._is_missing():
                for key in node:
                    free(node._get_node(key))

    tree: DictConfig = OmegaConf.structured(schema)
    free(tree)
    return tree


def _parse(overrides: Iterable[str]) -> list[Override]:
    parser = OverridesParser.create()
    parsed = []
    for line in overrides:
        if "=" not in line:
            raise UserError(f"{line!r} is not an override; write key=value, such as strategy=hardest_neg")
        try:
            parsed.append(parser.parse_override(line))
        except HydraException as error:
            first = str(error).splitlines()[0]
            raise UserError(
                f"{line!r} cannot be parsed ({first}); put quotes around values with special characters: "
                "\"data='my dir'\""
            ) from error
        if parsed[-1].type is None or parsed[-1].type.name != "CHANGE" or parsed[-1].package is not None:
            raise UserError(f"{line!r}: write key=value; adding and deleting keys are not possible")
    return parsed


def _strategy(overrides: Sequence[str]) -> type[Strategy]:
    """The strategy class. Raises :class:`UserError` with the nearest names for an unknown one."""
    name = dict(line.partition("=")[::2] for line in overrides).get("strategy", DEFAULT_STRATEGY)
    try:
        return find(name)
    except KeyError as error:
        unknown = str(error.args[0])
        if unknown.endswith("(a chain itself)"):
            raise UserError(f"strategy={name}: {unknown} cannot be a stage of a chain; name its stages") from None
        where = "" if unknown == name else f" in {name}"
        raise UserError(f"strategy={unknown}{where} is not registered{nearest(unknown, registered())}") from None


def _placed(overrides: Sequence[str], strategy: type[Strategy]) -> list[str]:
    """The words with the stage of a chain put into a knob that only one stage has: ``strategy.KNOB=`` names it then."""
    known, placed = _kinds(strategy), dict[str, str]()
    for word in overrides:
        key, _, value = word.partition("=")
        group, _, knob = key.partition(".")
        if group == "strategy" and key not in known:
            stages = [one for one in known if one.startswith("strategy.") and one.endswith(f".{knob}")]
            key = stages[0] if knob and len(stages) == 1 else key
        if key in placed:
            raise UserError(f"{key} is given twice; the second time as {word}")
        placed[key] = value
    return [f"{key}={value}" for key, value in placed.items()]


@cache
def _kinds(strategy: type[Strategy]) -> dict[str, Any]:
    """The type of every setting by its dotted key, the knobs being those of ``strategy``."""

    def below(prefix: str, kind: Any) -> Iterator[tuple[str, Any]]:
        hints = get_type_hints(kind)
        for f in fields(kind):
            if is_dataclass(hints[f.name]):
                yield from below(f"{prefix}{f.name}.", hints[f.name])
            else:
                yield prefix + f.name, hints[f.name]

    settings = {key: kind for key, kind in below("", RunConfig) if not key.startswith("strategy.")}
    return {**settings, **dict(below("strategy.", strategy))}


def _check_keys(overrides: Sequence[str], strategy: type[Strategy]) -> None:
    given = [key for key, _, _ in (line.partition("=") for line in overrides) if key != "strategy"]
    known = _kinds(strategy)
    groups = {key.partition(".")[0] for key in known}
    for key in given:
        if key == "strategy.name":
            raise UserError("write strategy=NAME instead of strategy.name=NAME")
        if key not in known:
            group, _, leaf = key.rpartition(".")
            knob = group.partition(".")[0] == "strategy"
            what = f"strategy {strategy.name} has no knob" if knob else "there is no setting"
            near = (
                [k for k in known if k.rpartition(".")[2] == leaf]
                or [k for k in known if group and k.startswith(group + ".")]
                or get_close_matches(key, [*known, *groups], cutoff=0.5)
                or groups
            )
            raise UserError(f"{what} {key!r}{nearest(key, near)}")


def _reason(error: BaseException, overrides: Sequence[str], strategy: type[Strategy]) -> str:
    """One line for an invalid value: the override, and what is allowed."""
    root: BaseException = error
    while root.__cause__ is not None:
        root = root.__cause__
    found = re.search(r"full_key: (\S+)", str(root))
    key = found[1].partition("[")[0] if found else "configuration"
    given = dict(line.partition("=")[::2] for line in overrides)
    kind = _kinds(strategy).get(key)
    if isinstance(root, ValidationError) and kind is not None:
        return f"{key}={given.get(key, '')} is not {_type_name(kind)}"
    return f"{key}: {str(root).splitlines()[0]}"


def _type_name(kind: Any) -> str:
    """What a value of a type looks like, for an error message."""
    if kind in _TYPES:
        return _TYPES[kind]
    if args := [arg for arg in get_args(kind) if arg is not Ellipsis]:
        return "a list of whole numbers, such as [1,5]" if args == [int] else " or ".join(map(_type_name, args))
    return str(kind)


def _tuples(node: Any) -> Any:
    """Frozen dataclasses with tuples where OmegaConf gave lists."""
    if isinstance(node, list):
        return tuple(node)
    if not is_dataclass(node) or isinstance(node, type):
        return node
    return type(node)(**{f.name: _tuples(getattr(node, f.name)) for f in fields(node)})
