"""Errors for the user: one clear message, exit status 2, no traceback."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable
from difflib import get_close_matches

_URL = re.compile(r"[A-Za-z][\w+.-]*://\S+")


class UserError(Exception):
    """An error that the user can fix. The message says what is wrong, where, and what to do, without any secret."""

    def __init__(self, message: object) -> None:
        super().__init__(without_secrets(str(message)))


class Impossible(UserError):
    """Settings that are invalid together, or with the data or the encoder. Others of a study may be possible."""


def without_secrets(text: str) -> str:
    """``text`` with the password and the query of every URL as ``***``.

    The password goes to the last ``@``: one with an ``@`` or a ``/`` that is not percent-encoded is hidden, too.
    """
    return _URL.sub(_hidden, text)


def _hidden(url: re.Match[str]) -> str:
    without_password = re.sub(r"(://[^:/@]*):.*@", r"\1:***@", url[0])
    return re.sub(r"([?;]).+?(['\"]?)$", r"\1***\2", without_password)


def install(extra: str = "") -> str:
    """The command that installs what the optional part ``extra`` of ``pyproject.toml`` needs, from a checkout."""
    part = f"[{extra}]" if extra else ""
    return f'`pip install -e ".{part}"` in the checkout of negbench'


def install_alone(requirements: Iterable[str]) -> str:
    """The command that installs packages anew, without what they depend on."""
    return f"`pip install --no-deps --force-reinstall {' '.join(requirements)}`"


_LONG = 100  # characters of a word that a message shows


def short(word: str) -> str:
    """A word for a message, and not all of a long one."""
    return word if len(word) <= _LONG else f"{word[:_LONG]}... ({len(word):,} characters)"


def shown(word: str) -> str:
    """:func:`short` in quotes."""
    return repr(short(word))


def nearest(name: str, known: Iterable[str]) -> str:
    """``"; did you mean 'a' or 'b'?"`` for a misspelt name; a list of all known names when none is similar."""
    names = sorted(known)
    close = get_close_matches(name, names, n=3, cutoff=0.5)
    if close:
        return "; did you mean " + " or ".join(repr(c) for c in close) + "?"
    return "; known: " + ", ".join(names)


def choice(key: str, value: str, allowed: Iterable[str]) -> None:
    """Raise :class:`UserError` unless ``value`` is one of ``allowed``; ``key`` names the setting."""
    allowed = tuple(allowed)
    if value not in allowed:
        raise UserError(f"{key}={value!r} is not one of {', '.join(allowed)}")


def at_least(key: str, value: float, lowest: float) -> None:
    """Raise :class:`UserError` when the number ``value`` of setting ``key`` is under ``lowest``."""
    if value < lowest:
        raise UserError(f"{key}={value} must be at least {lowest}")


def at_most(key: str, value: float, highest: float) -> None:
    """Raise :class:`UserError` when the number ``value`` of setting ``key`` is over ``highest``."""
    if value > highest:
        raise UserError(f"{key}={short(f'{value}')} must be at most {highest:,}")


def first_line(error: BaseException) -> str:
    """The first line of what a library says of its error; the kind of error where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def message(error: BaseException) -> str | None:
    """What to tell the person of an error that is no bug: theirs, or one of the operating system; else None."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, MemoryError):
        return f"not enough memory ({error}); use smaller settings, such as train.batch_size" if str(error) else None
    if not isinstance(error, OSError):
        return None
    if error.errno == errno.ENOSPC and not error.filename:
        return "cannot write the output: no space left on device"
    reason = error.strerror or str(error) or type(error).__name__
    return f"{short(str(error.filename))}: {reason}; check this path" if error.filename else reason
