"""Studies: one file each, one question each, found by themselves. See :mod:`bench.study.question`."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from bench.errors import UserError
from bench.study.question import Question


def questions() -> dict[str, Question]:
    """All questions by name, which is that of the file, in alphabetical order.

    Raises :class:`UserError` naming the file that does not declare one.
    """
    return {module.name: _question(module.name) for module in iter_modules(__path__)}


def _question(name: str) -> Question:
    try:
        found = import_module(f"{__name__}.{name}").QUESTION
    except Exception as error:  # whatever a file of somebody's does when it is imported
        raise UserError(f"studies/{name}.py: {type(error).__name__}: {error}") from error
    if not isinstance(found, Question):
        raise UserError(f"studies/{name}.py: QUESTION is no Question")
    return found
