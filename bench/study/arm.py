"""What became of one strategy in a study."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial


@dataclass(frozen=True)
class Arm:
    """One strategy's part: its ``trials`` (each once) with their settings.

    ``best`` is the best value of a search on dev, with its settings. ``finals`` are the overrides of the final runs;
    ``defaults`` says why the strategy's defaults have none of their own. ``why`` is the reason if no trial finished.
    ``reasons`` are those of all failed trials, each with its number.
    """

    strategy: str
    trials: list[FrozenTrial]
    values: list[dict[str, Any]]
    best: tuple[float, dict[str, Any]] | None
    finals: dict[str, list[str]]  # by what they are: "best", "default", or a grid point
    defaults: str
    why: str
    reasons: dict[str, int]
