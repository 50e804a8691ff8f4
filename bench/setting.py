"""What a setting's Python type does not say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

NAME = "name"

Name = Annotated[str, NAME]
"""A text that names one of several things: a comma list of names is a sweep. Any other text is taken whole."""


def place_named(name: str | Path) -> Path:
    """The file or directory that a setting names: ``~`` is the home directory, or a name like any other without one."""
    try:
        return Path(name).expanduser()
    except RuntimeError:  # nobody of that name, or a user without a home
        return Path(name)
