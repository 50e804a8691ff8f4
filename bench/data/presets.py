"""From the name of a data set to its reader: a preset, a ``hf:`` id, or the format of the files at a path."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.data import docstrings
from bench.data.dataset import DataSet
from bench.data.formats import formats, hub
from bench.errors import UserError, nearest


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


def find_source(name: str, path: str | None = None) -> DataSource:
    """The source called ``name``: a preset (with its directory ``path``), a path, or ``hf:OWNER/NAME``.

    Raises :class:`UserError` when there is no such preset or path, or when no format fits its files.
    """
    if name in PRESETS:
        return _preset(name, path)
    if path is not None:
        raise UserError(f"data.path={path} is for a preset that needs one; data.name={name!r} is none")
    if name.startswith(hub.PREFIX):
        return DataSource(name.removeprefix(hub.PREFIX), "Hugging Face datasets", name, partial(hub.read, name))
    place = Path(name).expanduser()
    if not place.exists():
        raise UserError(f"data.name={name!r} is no directory, .jsonl file or preset{nearest(name, PRESETS)}")
    return _at(place, place.resolve().name)


def _preset(name: str, path: str | None) -> DataSource:
    preset = PRESETS[name]
    if preset.path is None:
        if path is not None:
            raise UserError(f"data.path={path}: the preset {name!r} reads no directory; leave data.path out")
        return DataSource(name, "embedded", name, docstrings.read)
    if path is None:
        raise UserError(f"the preset {name!r} needs data.path: {preset.path}")
    place = Path(path).expanduser()
    if not place.is_dir():
        raise UserError(f"data.path={path} is no directory; it should be {preset.path}")
    recall = place / "recall"
    return _at(recall if recall.is_dir() else place, name)


def _at(place: Path, name: str) -> DataSource:
    """The source at an existing path, by the files that are there."""
    fitting = [known for known in formats() if known.fits(place)]
    if len(fitting) > 1:
        names = " and ".join(known.name for known in fitting)
        raise UserError(f"{place} has the files of more than one format ({names}); give each a directory of its own")
    for known in fitting:
        stem = name.removesuffix(".gz").removesuffix(place.suffix) if place.is_file() else name
        return DataSource(stem, known.name, str(place), partial(known.read, place))
    if place.is_file():
        raise UserError(f"no format reads the file {place}; give a directory, or a .jsonl file of training pairs")
    there = sorted(file.name for file in place.iterdir())
    listed = ", ".join(there[:10]) + (", ..." if len(there) > 10 else "")
    looked_for = "\n".join(f"  {known.files}  ({known.name})" for known in formats())
    raise UserError(f"{place} has no known layout. Looked for:\n{looked_for}\nand found: {listed or 'nothing'}")
