"""Many small files as one: a versioned tar file, compressed with xz, the same bytes for the same files."""

from __future__ import annotations

import io
import json
import lzma
import tarfile
from collections.abc import Mapping
from pathlib import Path

from bench.errors import UserError

NAME = "records.tar.xz"
FORMAT = "negbench records"
VERSION = 1
_HEAD = "pack.json"


def archive(files: Mapping[str, bytes]) -> bytes:
    """``files`` by name, in their order, as one archive without any time, owner or path of this machine."""
    head = {"format": FORMAT, "version": VERSION, "files": len(files)}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in {_HEAD: json.dumps(head).encode() + b"\n", **files}.items():
            entry = tarfile.TarInfo(name)  # time 0, owner 0, mode 644
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return lzma.compress(packed.getvalue(), check=lzma.CHECK_SHA256, preset=9)


def unarchive(path: Path) -> dict[str, bytes]:
    """The files of the archive at ``path`` by name, in memory.

    Raises :class:`UserError` for one that is broken, of another kind, or of a later version.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(lzma.decompress(path.read_bytes())), mode="r:") as tar:
            files = {entry.name: kept.read() for entry in tar if (kept := tar.extractfile(entry)) is not None}
        head = json.loads(files.pop(_HEAD))
        version, count = int(head["version"]), head.get("files")
        if head["format"] != FORMAT:
            raise ValueError("another kind of archive")
    except (lzma.LZMAError, EOFError, tarfile.TarError, ValueError, KeyError, TypeError, OSError) as error:
        raise UserError(f"{path}: broken packed records ({error}); get or pack them anew") from error
    if version > VERSION:
        raise UserError(f"{path}: packed records of version {version}, this negbench reads up to {VERSION}; update it")
    if len(files) != count:
        raise UserError(f"{path}: broken packed records ({len(files)} files of {count}); get or pack them anew")
    return files
