"""Where derived files are kept between runs, and how they are written: whole or not at all."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

logger = logging.getLogger(__name__)


def cache_dir() -> Path:
    """``$NEGBENCH_CACHE``, else ``$XDG_CACHE_HOME/negbench``, else ``~/.cache/negbench``; it need not be."""
    if own := os.environ.get("NEGBENCH_CACHE"):
        return Path(own)
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "negbench"


def keep(path: Path, write: Callable[[BinaryIO], object]) -> bool:
    """Write a cache file beside its place and rename it there, so that a kill leaves none or a whole one.

    True when it was kept. A place that cannot be written is told as a warning: work goes on without a cache.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                write(file)
            Path(beside).replace(path)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise
    except OSError as error:
        logger.warning("cannot cache in %s (%s); set NEGBENCH_CACHE to a writable folder", path.parent, error)
        return False
    return True
