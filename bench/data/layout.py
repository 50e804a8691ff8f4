"""Which reader a name asks for: a preset, a ``hf:`` id, or the layout of the files at a path."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.data import beir, docstrings, flagembedding, hub, tsv
from bench.data.build import SPLITS
from bench.data.dataset import DataSet
from bench.data.lines import find
from bench.errors import UserError, nearest


@dataclass(frozen=True)
class Source:
    """A data set that was found but not yet read; ``place`` is the path or id that is read."""

    name: str
    layout: str
    place: str
    read: Callable[[], DataSet]


@dataclass(frozen=True)
class Preset:
    """A data set with a name of its own; ``path`` says what its directory is, None when it needs none."""

    summary: str
    path: str | None = None


PRESETS = {
    docstrings.NAME: Preset("one-line summaries to the docstrings of the installed libraries"),
    "literature_search": Preset(
        "Chinese paper queries to titles and keywords, 300,000 passages (PaddleNLP)",
        path="the unpacked literature_search_data.zip, or its folder recall",
    ),
}

LOOKED_FOR = """\
  corpus.jsonl with queries.jsonl and qrels/  (BEIR)
  train.jsonl, dev.jsonl or test.jsonl        (FlagEmbedding)
  corpus, train, dev or test as .tsv, .csv or .txt, plain or .gz  (TAB-separated)"""


def source(name: str, path: str | None = None) -> Source:
    """The source called ``name``: a preset (with its directory ``path``), a path, or ``hf:OWNER/NAME``.

    Raises :class:`UserError` when there is no such preset or path, or when its files have no known layout.
    """
    if name in PRESETS:
        return _preset(name, path)
    if path is not None:
        raise UserError(f"data.path={path} is for a preset that needs one; data.name={name!r} is none")
    if name.startswith(hub.PREFIX):
        return Source(name.removeprefix(hub.PREFIX), "Hugging Face datasets", name, partial(hub.read, name))
    place = Path(name).expanduser()
    if not place.exists():
        raise UserError(f"data.name={name!r} is no directory, .jsonl file or preset{nearest(name, PRESETS)}")
    return _at(place, place.resolve().name)


def _preset(name: str, path: str | None) -> Source:
    preset = PRESETS[name]
    if preset.path is None:
        if path is not None:
            raise UserError(f"data.path={path}: the preset {name!r} reads no directory; leave data.path out")
        return Source(name, "embedded", name, docstrings.read)
    if path is None:
        raise UserError(f"the preset {name!r} needs data.path: {preset.path}")
    place = Path(path).expanduser()
    if not place.is_dir():
        raise UserError(f"data.path={path} is no directory; it should be {preset.path}")
    recall = place / "recall"
    return _at(recall if recall.is_dir() else place, name)


def _at(place: Path, name: str) -> Source:
    """The source at an existing path, by the files that are there."""
    if place.is_file():
        if not place.name.endswith((".jsonl", ".jsonl.gz")):
            raise UserError(f"{place} is no .jsonl file; give a directory, or a .jsonl file of training pairs")
        stem = name.removesuffix(".gz").removesuffix(".jsonl")
        return Source(stem, "FlagEmbedding", str(place), partial(flagembedding.read, place))
    if _any(place, ["queries"], [".jsonl"]):
        return Source(name, "BEIR", str(place), partial(beir.read, place))
    if _any(place, SPLITS, [".jsonl"]):
        return Source(name, "FlagEmbedding", str(place), partial(flagembedding.read, place))
    if _any(place, ["corpus", *SPLITS], tsv.SUFFIXES):
        return Source(name, "TAB-separated", str(place), partial(tsv.read, place))
    there = sorted(file.name for file in place.iterdir())
    listed = ", ".join(there[:10]) + (", ..." if len(there) > 10 else "")
    raise UserError(
        f"{place} has no layout that can be read. Looked for:\n{LOOKED_FOR}\nand found: {listed or 'nothing'}"
    )


def _any(folder: Path, stems: Sequence[str], suffixes: Sequence[str]) -> bool:
    return any(find(folder, [stem], [suffix]) for stem in stems for suffix in suffixes)
