"""Making a data set of the published pages from its public source."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path
from urllib.request import urlopen
from zipfile import BadZipFile

import numpy as np

from bench.atomic import atomic_directory, explain_write_errors
from bench.data.load import DataConfig, load
from bench.data.sources import SOURCES, PublicSource, by_hash
from bench.errors import UserError, nearest
from bench.progress import Task, unwatched

ORDERS = Path(__file__).with_name("orders")
FILES = ("train", "dev", "test", "corpus")
DIGEST = 5  # bytes of a line's SHA-256 that are kept
_PATIENCE_S = 60.0
_BLOCK = 1 << 16


@dataclass(frozen=True)
class Made:
    """A data set in the directory ``path``: its fingerprint, whether it is the published one, and lines not found."""

    path: Path
    fingerprint: str
    published: bool
    missing: int


def get(name: str, out: Path, source: Path | None = None, task: Task = unwatched) -> Made:
    """Write the data set ``name`` into ``out`` as tab-separated files.

    ``source`` is the file, zip file or directory of the repository where it is on this machine already; without it, it
    is fetched. Raises :class:`UserError` for an unknown name, without a network, and for a source of another form.
    """
    if name not in SOURCES:
        raise UserError(f"no data set {name!r} can be got{nearest(name, SOURCES)}")
    public = SOURCES[name]
    with atomic_directory(out, f", or use the data set there: data={out}") as part:
        if source is not None:
            files, missing = _files(name, public, source)
        else:
            with tempfile.TemporaryDirectory() as place:
                fetched = _fetched(name, public, Path(place) / Path(public.url).name, task)
                files, missing = _files(name, public, fetched)
        with explain_write_errors(out):
            for file, lines in files.items():
                (part / f"{file}.tsv").write_bytes("".join(f"{line}\n" for line in lines).encode())
    found = load(DataConfig(str(out))).fingerprint
    return Made(out, found, found == public.fingerprint, missing)


def _fetched(name: str, public: PublicSource, place: Path, task: Task) -> Path:
    """The source, in the file ``place``. Raises :class:`UserError` when it cannot be had."""
    try:
        with urlopen(public.url, timeout=_PATIENCE_S) as answer, place.open("wb") as file:
            size = int(answer.headers.get("Content-Length") or 0)
            with task(f"fetching {name}", size or None) as advance:
                while block := answer.read(_BLOCK):
                    file.write(block)
                    advance(len(block))
    except OSError as error:
        raise UserError(
            f"{name} cannot be fetched from the GitHub repository {public.repository} "
            f"({getattr(error, 'reason', error)}); fetch commit {public.commit[:12]} of it elsewhere, and give the "
            "place as --source"
        ) from error
    return place


def _files(name: str, public: PublicSource, source: Path) -> tuple[dict[str, list[str]], int]:
    """The lines of every file, and how many of the published lines the source does not have."""
    if not source.exists():
        raise UserError(f"--source {source}: there is no such file or directory")
    try:
        pairs = [(f"{pair.query}\t{pair.passage}", pair) for pair in public.pairs(source)]
    except (KeyError, ValueError, SyntaxError, OSError, BadZipFile, LZMAError) as error:  # SyntaxError: of XML
        raise UserError(
            f"{source} is not the source of {name}, {public.repository} at commit {public.commit[:12]} "
            f"({type(error).__name__}: {error})"
        ) from error
    if not pairs:
        raise UserError(f"{source} has no pair of {name}; it should be {public.repository}, as a zip file or unpacked")
    if public.ordered:
        files, missing = ordered([line for line, _ in pairs], order(name))
        if empty := [file for file, lines in files.items() if not lines]:
            raise UserError(
                f"{source} has no line of the published {empty[0]}.tsv of {name}; is it {public.repository}?"
            )
        return files, missing
    files = {file: [] for file in FILES}
    for line, pair in pairs:
        files[pair.split or by_hash(pair.passage)].append(line)
    files["corpus"] = list(dict.fromkeys(pair.passage for _, pair in pairs))
    return files, 0


def ordered(pairs: Iterable[str], known: Mapping[str, list[bytes]]) -> tuple[dict[str, list[str]], int]:
    """The lines of every file in their ``known`` order, and how many of them are not among the ``pairs``."""
    lines = {digest(line): line for pair in pairs for line in (pair, pair.partition("\t")[2])}
    files = {file: [lines[key] for key in keys if key in lines] for file, keys in known.items()}
    return files, sum(map(len, known.values())) - sum(map(len, files.values()))


def order(name: str) -> dict[str, list[bytes]]:
    """The digests of all lines of the published files of a data set, in order."""
    with np.load(ORDERS / f"{name}.npz") as kept:
        return {file: [bytes(row) for row in kept[file]] for file in FILES}


def digest(line: str) -> bytes:
    """What is kept of a line: enough to find it again among the lines of its source."""
    return hashlib.sha256(line.encode()).digest()[:DIGEST]
