"""What the shell may put for a word that is not yet whole: names that a command takes, and words KEY=VALUE."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable
from contextlib import redirect_stderr, redirect_stdout
from functools import wraps
from pathlib import Path
from typing import Any

from bench.commands import declared

ASKS = "_BENCH_COMPLETE"  # the variable with which a shell asks for completions
_BREAKS = set("=:")  # where bash cuts a word in pieces


def answer(command: Callable[[], Any]) -> None:
    """Print what ``command`` answers to the shell's question, or nothing where it fails: never a traceback.

    Bash cuts words at ``=`` and completes the last piece alone; others complete the whole word.
    """
    out, status, done = io.StringIO(), 0, ""
    try:
        if os.environ.get(ASKS) == "complete_bash":
            done = _joined()
        with redirect_stdout(out), redirect_stderr(io.StringIO()):
            command()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0
    except Exception:  # whatever it is, the person is in the middle of a word
        raise SystemExit(1) from None
    for line in out.getvalue().splitlines():
        print(line.removeprefix(done))
    raise SystemExit(status)


def _joined() -> str:
    """Join the pieces of bash's words in the environment; the part of the last word that bash leaves as it is."""
    pieces = os.environ.get("COMP_WORDS", "").split("\n")
    at = int(os.environ.get("COMP_CWORD", "0"))
    words: list[str] = []
    place, kept, open_ = 0, "", False
    for number, piece in enumerate(pieces[: at + 1]):
        breaks = bool(piece) and set(piece) <= _BREAKS
        if words and (breaks or (open_ and piece)):
            kept = words[-1] + piece if breaks else words[-1]
            words[-1] += piece
        else:
            kept = ""
            words.append(piece)
        open_ = breaks
        place = len(words) - 1 if number == at else place
    os.environ["COMP_WORDS"], os.environ["COMP_CWORD"] = "\n".join(words), str(place)
    return kept


Completer = Callable[[str], list[str]]


def _quiet(complete: Callable[[str], Iterable[str]]) -> Completer:
    """Completions that begin with what is there; none where they cannot be found."""

    @wraps(complete)
    def safe(incomplete: str) -> list[str]:
        try:
            return [word for word in complete(incomplete) if word.startswith(incomplete)]
        except Exception:  # a broken file of somebody's is told by the command, not here
            return []

    return safe


@_quiet
def words(incomplete: str) -> Iterable[str]:
    """Words KEY=VALUE: keys until there is an ``=``, then the values that are known, also behind a comma."""
    key, sign, value = incomplete.partition("=")
    if not sign:
        keys = [one for one in _keys(incomplete) if one.startswith(incomplete)]
        return _with_values(keys[0]) if len(keys) == 1 and keys[0].endswith("=") else keys
    head, comma, _ = value.rpartition(",")
    before = set(head.split(","))
    values = _values(key)
    return [f"{key}={head}{comma}{one}" for one in values if one not in before]


@_quiet
def strategies(incomplete: str) -> Iterable[str]:
    """Names of strategies."""
    return declared.strategies()


@_quiet
def gettable(incomplete: str) -> Iterable[str]:
    """Data sets that can be got."""
    return declared.names_of("bench.data.sources", "SOURCES")


@_quiet
def studies(incomplete: str) -> Iterable[str]:
    """Names of studies."""
    return declared.studies()


@_quiet
def documented(incomplete: str) -> Iterable[str]:
    """Published rows that can be reproduced."""
    from reports.documented import documented

    return [row.id for row in documented() if row.strategy and row.backbone and row.tolerance is not None]


@_quiet
def runs(incomplete: str) -> Iterable[str]:
    """Ids of the runs in the directory ``runs``."""
    return sorted(path.parent.name for path in Path("runs").glob("*/record.json"))


@_quiet
def made_studies(incomplete: str) -> Iterable[str]:
    """Studies in the directory ``runs``."""
    return sorted(path.name for path in Path("runs").glob("studies/*"))


def _keys(incomplete: str) -> list[str]:
    """Keys with their ``=``; those of a group only when its name is there, so that the first list is short."""
    keys = ["strategy", "stages", "data", "encoder", *declared.settings()]
    if incomplete.startswith("strategy."):
        keys += [f"strategy.{knob}" for name in declared.strategies() for knob in declared.knobs(name)]
    found = dict.fromkeys(f"{key}=" for key in keys)
    if "." in incomplete:
        return list(found)
    groups = dict.fromkeys(f"{key.partition('.')[0]}." for key in keys if "." in key)
    short = [key for key in found if "." not in key]
    return [*short, *groups] if len(_beginning([*short, *groups], incomplete)) != 1 else list(found)


def _with_values(key: str) -> list[str]:
    """The only key that is left, with its values or its default: a shell puts a space behind a word that is alone."""
    values = [*_values(key[:-1])] or [declared.defaults().get(key[:-1], "")]
    return [key, *(f"{key}{value}" for value in values if value)]


def _values(key: str) -> Iterable[str]:
    if key in ("strategy", "stages"):
        return declared.strategies()
    if key in ("data", "data.name"):
        return declared.names_of("bench.data.presets", "PRESETS")
    if key in ("encoder", "encoder.name"):
        return declared.names_of("bench.model.presets", "PRESETS")
    if key == "device":
        return ("auto", "cpu", "cuda")
    group, _, knob = key.partition(".")
    if group == "strategy":
        found = [declared.knobs(name).get(knob, ()) for name in declared.strategies()]
        return dict.fromkeys(value for values in found for value in values)
    return declared.settings().get(key, ())


def _beginning(words: Iterable[str], incomplete: str) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]
