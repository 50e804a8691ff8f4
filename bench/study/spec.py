"""From declared studies (:mod:`studies.base`) to runs: all studies by name, overrides, grids."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import product
from typing import Any

from bench.errors import UserError
from bench.record.serialize import as_override
from studies import registered
from studies.base import Dimension, StudySpec


def known_studies() -> dict[str, StudySpec]:
    """All studies by name. Raises :class:`UserError` naming a file that does not declare one."""
    try:
        return registered()
    except ValueError as error:
        raise UserError(str(error)) from error


def grid(dimensions: tuple[Dimension, ...]) -> list[dict[str, int]]:
    """Every combination of the dimensions' choices by their places, the last varying fastest."""
    places = product(*(range(len(d.choices)) for d in dimensions))
    return [dict(zip((d.key for d in dimensions), place, strict=True)) for place in places]


def keys_of(overrides: Collection[str]) -> set[str]:
    """The settings that overrides set."""
    return {word.partition("=")[0] for word in overrides}


def as_overrides(values: Mapping[str, Any]) -> list[str]:
    """Overrides that set ``values``."""
    return [f"{key}={as_override(value)}" for key, value in values.items()]


def merged(*parts: Sequence[str]) -> list[str]:
    """One list of overrides; of two with the same key the later counts."""
    return list({word.partition("=")[0]: word for part in parts for word in part}.values())
