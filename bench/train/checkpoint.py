"""Checkpoints on disk: written atomically, whenever the process dies."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from bench.atomic import explain_write_errors, write_atomic
from bench.errors import UserError


def write(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` beside ``path`` and rename it. Raises :class:`UserError` when the disk refuses."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    with explain_write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, buffer.getbuffer())


def read(path: Path) -> dict[str, Any]:
    """Read what :func:`write` wrote, on the CPU. Raises :class:`UserError` for a damaged file."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(
            f"{path}: not a readable checkpoint ({type(error).__name__}); delete it to start this run anew"
        ) from error
    return state
