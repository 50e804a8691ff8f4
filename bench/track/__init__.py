"""Trackers of runs: none, or Weights & Biases."""

from __future__ import annotations

import logging
from pathlib import Path

from bench.errors import choice
from bench.track.base import Guarded, NullTracker, Tracker
from bench.track.mode import MODES, has_key, resolve

log = logging.getLogger(__name__)


def make_tracker(mode: str, directory: Path) -> Tracker:
    """The tracker of ``track=auto|online|offline|none``; W&B's files go to ``directory/wandb``.

    ``auto`` follows ``WANDB_MODE``, or else is online if there is an API key and offline if there is none.
    Raises :class:`bench.errors.UserError` for another mode.
    """
    choice("track", mode, MODES)
    if mode == "auto":
        mode = resolve()
    elif mode == "online" and not has_key():
        # W&B would ask for the key and wait, in the middle of a study that nobody watches.
        log.warning("track=online, but there is no W&B API key (run `wandb login`): tracking offline")
        mode = "offline"
    if mode == "none":
        return NullTracker()
    from bench.track.wandb import WandbTracker

    return Guarded(WandbTracker(mode, directory))
