"""Studies: one file and one question each, found on import. See :mod:`studies.base` for the contract."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from studies.base import StudySpec


def registered() -> dict[str, StudySpec]:
    """All studies by name (that of the file), in alphabetical order.

    Raises ``ValueError`` naming a file that does not declare a study.
    """
    return {module.name: _spec(module.name) for module in iter_modules(__path__) if module.name != "base"}


def _spec(name: str) -> StudySpec:
    try:
        found = import_module(f"{__name__}.{name}").STUDY
    except Exception as error:  # a user's file may raise anything on import
        raise ValueError(f"studies/{name}.py: {type(error).__name__}: {error}") from error
    if not isinstance(found, StudySpec):
        raise ValueError(f"studies/{name}.py: STUDY is not a StudySpec")
    return found
