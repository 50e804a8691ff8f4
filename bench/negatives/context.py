"""The inputs for implementing a declaration: data, encoders by name, memory and directories."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.cache import Cache
from bench.data.dataset import DataSet
from bench.data.pairs import Pairs
from bench.model.prepared import Prepared
from bench.negatives.config import MiningConfig
from bench.progress import Task, unwatched
from bench.world import World


@dataclass(frozen=True)
class NegativesContext:
    """``pairs`` are the labelled ones of ``data``'s training split.

    ``encoder`` returns the prepared encoder of a name; ``start`` and ``current`` name the one in training. Results that
    other runs can reuse go to ``cache``, and those of this run alone to the directory ``scratch``. ``task`` shows the
    progress of long work. The ranks of ``world`` share it.
    """

    data: DataSet
    pairs: Pairs
    seed: int
    encoder: Callable[[str], Prepared]
    scratch: Path
    cache: Cache = field(default_factory=lambda: Cache(None))
    config: MiningConfig = field(default_factory=MiningConfig)
    task: Task = unwatched
    world: World = field(default_factory=World)
