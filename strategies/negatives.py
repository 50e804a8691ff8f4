"""Declarations of where a strategy's negatives come from. ``bench/negatives`` carries them out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Negatives:
    """Base of all declarations: what a strategy asks for, never how it is fetched."""


@dataclass(frozen=True)
class InBatch(Negatives):
    """The other queries' positives in the batch; nothing is sampled."""
