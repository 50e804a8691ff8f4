"""What clients ask for, checked field by field. Fields that are not known have no effect."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.data.dataset import Floats
from bench.errors import shown
from bench.use.serving.refused import BAD, Refused, invalid, too_large

ROLES = {"query": "query", "passage": "passage", "document": "passage"}
MOST_HITS = 100

Fields = Mapping[str, Any]


def fields_of(body: bytes) -> Fields:
    """A body's JSON object. Raises :class:`Refused` for anything else."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise invalid(f"the body is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise invalid(f"the body must be a JSON object, not {_kind(found)}")
    return found


@dataclass(frozen=True)
class Wanted:
    """Texts to be encoded and how: as ``role``; with vectors of unit length, and the first ``dimensions`` values."""

    texts: tuple[str, ...]
    role: str | None
    truncate: bool = True
    normalize: bool = True
    dimensions: int | None = None

    @classmethod
    def of(cls, fields: Fields, most: int, dim: int, key: str = "inputs") -> Wanted:
        """``fields`` of TEI, or with ``key="input"`` of OpenAI; ``most`` texts are allowed, of ``dim`` values."""
        return cls(
            texts_of(fields.get(key), key, most),
            role_of(fields),
            _flag(fields, "truncate", True),
            _flag(fields, "normalize", True),
            number(fields, "dimensions", None, dim),
        )

    def shaped(self, vectors: Floats) -> Floats:
        """The vectors with as many values and of the length that is wanted."""
        if self.dimensions is None or self.dimensions == vectors.shape[1]:
            return vectors
        cut = vectors[:, : self.dimensions]
        return cut / np.maximum(np.linalg.norm(cut, axis=1, keepdims=True), 1e-12) if self.normalize else cut


def texts_of(found: object, key: str, most: int) -> tuple[str, ...]:
    """One text or several. Raises :class:`Refused` for none, an empty one, too many, or anything else."""
    texts = [found] if isinstance(found, str) else found
    if texts is None:
        raise invalid(f"{key} is missing")
    if not isinstance(texts, list):
        raise invalid(f"{key} must be a text or a list of texts, not {_kind(found)}")
    if not texts:
        raise Refused(BAD, "Empty", f"{key} is empty")
    if len(texts) > most:
        raise too_large(f"{key} has {len(texts):,} texts; at most {most} are taken at once")
    for place, text in enumerate(texts, start=1):
        if not isinstance(text, str):
            raise invalid(f"{key}: entry {place} must be a text, not {_kind(text)}")
        if not text.strip():
            raise Refused(BAD, "Empty", f"{key}: text {place} is empty")
    return tuple(texts)


def text_of(fields: Fields, key: str) -> str:
    """The one text of a field. Raises :class:`Refused`."""
    found = fields.get(key)
    if found is not None and not isinstance(found, str):
        raise invalid(f"{key} must be a text, not {_kind(found)}")
    return texts_of(found, key, 1)[0]


def role_of(fields: Fields) -> str | None:
    """What ``prompt_name`` says the texts are. Raises :class:`Refused` for another name."""
    name = fields.get("prompt_name")
    if name is None:
        return None
    if not isinstance(name, str) or name not in ROLES:
        known = ", ".join(ROLES)
        raise invalid(
            f"prompt_name must be one of {known}, not {shown(name) if isinstance(name, str) else _kind(name)}"
        )
    return ROLES[name]


def number(fields: Fields, key: str, default: int | None, most: int) -> int | None:
    """A whole number from 1 to ``most``. Raises :class:`Refused`."""
    value = fields.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise invalid(f"{key} must be a whole number from 1 to {most}")
    return value


def _flag(fields: Fields, key: str, default: bool) -> bool:
    value = fields.get(key)
    if value is not None and not isinstance(value, bool):
        raise invalid(f"{key} must be true or false, not {_kind(value)}")
    return default if value is None else value


def _kind(value: object) -> str:
    """What JSON calls the kind of a value."""
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")
