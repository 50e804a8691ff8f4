"""From the name of a data set to its reader: a preset, a ``hf:`` id, or the format of the files at a path."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from bench.data import docstrings
from bench.data.dataset import DataSet
from bench.data.formats import formats, hub
from bench.data.formats.base import Format, Reading
from bench.data.lines import kind_of
from bench.data.splits import stem_of
from bench.errors import UserError, nearest
from bench.setting import place_named

PLAIN = Reading()


@dataclass(frozen=True)
class DataSource:
    """A data set that was found but not yet read; ``place`` is its path or id."""

    name: str
    format: str
    place: str
    read: Callable[[], DataSet]


@dataclass(frozen=True)
class Preset:
    """A named data set; ``path`` describes the directory it needs, None when it needs none."""

    summary: str
    path: str | None = None


PRESETS = {
    docstrings.NAME: Preset("one-line summaries to the docstrings of the installed libraries"),
    "literature_search": Preset(
        "Chinese paper queries to titles and keywords, 300,000 passages (PaddleNLP)",
        path="the unpacked literature_search_data.zip, or its folder recall",
    ),
}


def find_source(name: str, path: str | None = None, reading: Reading = PLAIN) -> DataSource:
    """The source called ``name``: a preset (with its directory ``path``), a path, or ``hf:OWNER/NAME``.

    Raises :class:`UserError` when there is no such preset or path, or when no format fits its files.
    """
    if name in PRESETS:
        return _preset(name, path, reading)
    if path is not None:
        raise UserError(f"data.path={path} is for a preset that needs one; data.name={name!r} is none")
    if name.startswith(hub.PREFIX):
        return _hub(name, reading)
    if not name.strip():
        raise UserError("data.name= is empty; give a directory, a file or a preset")
    place = _place(name, f"data.name={_short(name)!r}")
    if place is None:
        kinds = "no directory, file or preset"
        raise UserError(f"data.name={_short(name)!r} is {kinds}{nearest(name[:100], PRESETS)}")
    return _at(place, place.resolve().name, reading)


def _place(name: str, key: str) -> Path | None:
    """An existing directory or regular file, or None. Raises :class:`UserError` for what is there and is neither."""
    try:
        place = place_named(name)
        if not place.exists():
            return None
    except (OSError, ValueError) as error:
        raise UserError(f"{key} is no path: {getattr(error, 'strerror', None) or error}") from error
    if not place.is_dir() and not place.is_file():
        raise UserError(f"{key} is neither a directory nor a regular file (but a device, a pipe or a socket)")
    return place


def _hub(name: str, reading: Reading) -> DataSource:
    """A data set of the hub; files on disk are read here where a format fits them, and by ``datasets`` where not."""
    short = name.removeprefix(hub.PREFIX)
    if not short.strip():
        raise UserError(f"data.name={name}: write hf:OWNER/NAME or hf:DIRECTORY")
    place = _place(short, f"data.name={_short(name)!r}")
    if place is not None and _fitting(place, reading):
        return _at(place, short, replace(reading, cut=True))
    return DataSource(short, "Hugging Face datasets", name, partial(hub.read, name, reading))


def _preset(name: str, path: str | None, reading: Reading) -> DataSource:
    preset = PRESETS[name]
    if preset.path is None:
        if path is not None:
            raise UserError(f"data.path={path}: the preset {name!r} reads no directory; leave data.path out")
        if reading.columns:
            raise UserError(f"data.columns is for files of pairs; the preset {name!r} reads none")
        return DataSource(name, "embedded", name, docstrings.read)
    if path is None:
        raise UserError(f"the preset {name!r} needs data.path: {preset.path}")
    place = _place(path, f"data.path={_short(path)}")
    if place is None or not place.is_dir():
        raise UserError(f"data.path={_short(path)} is no directory; it should be {preset.path}")
    recall = place / "recall"
    return _at(recall if recall.is_dir() else place, name, reading)


def _fitting(place: Path, reading: Reading) -> list[Format]:
    return [known for known in formats() if known.fits(place, reading)]


def _at(place: Path, name: str, reading: Reading) -> DataSource:
    """The source at an existing path, by the files that are there, or in its folder ``data``."""
    fitting = _fitting(place, reading)
    if not fitting and (place / "data").is_dir():
        place, fitting = place / "data", _fitting(place / "data", reading)
    if len(fitting) > 1:
        names = " and ".join(known.name for known in fitting)
        raise UserError(f"{place} has the files of more than one format ({names}); give each a directory of its own")
    for known in fitting:
        stem = name.removesuffix(".gz").removesuffix(Path(name.removesuffix(".gz")).suffix) if place.is_file() else name
        return DataSource(stem, known.name, str(place), partial(known.read, place, reading))
    looked_for = "\n".join(f"  {known.files}  ({known.name})" for known in formats())
    if place.is_file():
        wanted = "it should be called .tsv, .csv, .jsonl, .json or .parquet"
        if kind := kind_of(place):
            wanted = f"it is {kind}"
        raise UserError(f"no format reads the file {place}; {wanted}")
    there = sorted(file.name for file in place.iterdir())
    listed = ", ".join(there[:10]) + (", ..." if len(there) > 10 else "")
    table = next((file for file in there if stem_of(file) is not None), None)
    one = f"\nIf one of them is the data set, give the file itself, such as {place / table}" if table else ""
    raise UserError(f"{place} has no known layout. Looked for:\n{looked_for}\nand found: {listed or 'nothing'}{one}")


def _short(name: str) -> str:
    return name if len(name) <= 100 else name[:99] + "…"
