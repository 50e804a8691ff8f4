"""Errors for the user: one clear message, exit status 2, no traceback."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """An error that the user can fix. The message says what is wrong, where, and what to do."""


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
        given = f"{value}"
        raise UserError(f"{key}={given if len(given) <= 40 else f'{given[:20]}...'} must be at most {highest:,}")
