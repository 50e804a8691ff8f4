"""Studies: one file each, one question each, found by themselves. See :mod:`bench.study.question`."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from bench.study.question import Question


def questions() -> dict[str, Question]:
    """All questions by name, which is that of the file, in alphabetical order."""
    return {m.name: import_module(f"{__name__}.{m.name}").QUESTION for m in iter_modules(__path__)}
