"""Selecting records by their settings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PurePath

from bench.errors import UserError, nearest
from bench.record.identity import flat
from bench.record.record import Record
from bench.record.serialize import as_override

_OPTIONS = {"runs_dir": "--runs-dir", "metric": "--metric", "allow": "--allow"}
_UNSET = ("null",)  # of a setting that is younger than the record


def select(records: Iterable[Record], words: Sequence[str]) -> list[Record]:
    """The records that have one of the values of every ``key=value,value`` of ``words``.

    ``data`` and ``encoder`` match the name or the last part of the path. Raises :class:`UserError` for a word that is
    not ``key=value``, for a key that no record has, and when no record is left.
    """
    left = list(records)
    for text in words:
        key, sign, value = text.partition("=")
        if sign and key in _OPTIONS:
            raise UserError(f"{text}: {key} is not a setting of runs; give it as {_OPTIONS[key]} {value or '...'}")
        if not sign:
            raise UserError(f"{text!r} is not key=value; write for example data=medquad or strategy=in_batch,mnr")
        known = {name for record in left for name in _settings(record)}
        if left and key not in known:
            raise UserError(f"no record has the setting {key!r}{nearest(key, known)}")
        kept = fitting(left, text)
        if left and not kept:
            there = sorted({value for record in left for value in _settings(record).get(key, _UNSET)})
            values = "no run set it" if tuple(there) == _UNSET else f"there is {', '.join(there)}"
            raise UserError(f"no record has {text}; {values}")
        left = kept
    return left


def fitting(records: Iterable[Record], *words: str) -> list[Record]:
    """The records that fit all of ``words``, as :func:`select` chooses them; they may be none."""
    left = list(records)
    for text in words:
        key, _, values = text.partition("=")
        whole = {values, *([values] if values.startswith("[") else values.split(","))}
        same = {_plain(value) for value in whole}
        left = [record for record in left if same & set(map(_plain, _settings(record).get(key, _UNSET)))]
    return left


def selecting(groups: Sequence[Sequence[Record]], keys: Iterable[str]) -> list[str]:
    """For each group the fewest words of ``keys`` that select its records and none of the other groups'.

    A group that no words select is left out. The records of a group have the same values of ``keys``.
    """
    settings = [_settings(records[0]) for records in groups]
    known = [key for key in keys if any(key in found for found in settings)]
    values = [{key: found.get(key, _UNSET)[0] for key in known} for found in settings]
    varied = [key for key in known if len({found[key] for found in values}) > 1]
    said = []
    for own in values:
        for chosen in (*((key,) for key in varied), tuple(varied)):
            if sum(all(other[key] == own[key] for key in chosen) for other in values) == 1:
                said.append(" ".join(f"{key}={own[key]}" for key in chosen))
                break
    return said


def _plain(value: str) -> str | float:
    """A number as a float, so that 5e-4 equals 0.0005."""
    try:
        return float(value)
    except ValueError:
        return value


def _settings(record: Record) -> dict[str, tuple[str, ...]]:
    """Every setting of a record, and the words that match its value."""
    known = {**record.setting, **dict(flat(record.config))}  # also what the record is older than
    found: dict[str, tuple[str, ...]] = {key: (as_override(value),) for key, value in known.items()}
    for name, value in (("data", record.data["name"]), ("encoder", record.encoder.get("name", ""))):
        given = str(found.get(f"{name}.name", (value,))[0])
        found[name] = (str(value), given, PurePath(given).name)
    found["strategy"] = (record.strategy,)
    found["eval.split"] = (record.split,)  # the one that was measured: of data without a test split it is dev
    found["fingerprint"] = (record.data["fingerprint"],)
    return found
