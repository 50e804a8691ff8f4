"""What a setting's Python type does not say."""

from __future__ import annotations

from typing import Annotated

NAME = "name"

Name = Annotated[str, NAME]
"""A text that names one of several things: a comma list of names is a sweep. Any other text is taken whole."""
