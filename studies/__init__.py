"""Studies: one file each, one question each, found by themselves. See :mod:`studies.base` for the contract."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from studies.base import StudySpec


def registered() -> dict[str, StudySpec]:
    """All studies by name, which is that of the file, in alphabetical order.

    Raises ``ValueError`` naming the file that does not declare one.
    """
    return {module.name: _spec(module.name) for module in iter_modules(__path__) if module.name != "base"}


def _spec(name: str) -> StudySpec:
    try:
        found = import_module(f"{__name__}.{name}").STUDY
    except Exception as error:  # whatever a file of somebody's does when it is imported
        raise ValueError(f"studies/{name}.py: {type(error).__name__}: {error}") from error
    if not isinstance(found, StudySpec):
        raise ValueError(f"studies/{name}.py: STUDY is not a StudySpec")
    return found
