"""What carrying out a declaration may use: the data, the encoders by name, memory and places to keep things."""

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


@dataclass(frozen=True)
class NegativesContext:
    """``pairs`` are the labelled ones of ``data``'s training split.

    ``encoder`` gives the prepared encoder of a name, ``start`` and ``current`` being the one that is trained. What
    other runs can use again goes to ``cache``, what only this run needs to the directory ``scratch``. ``task`` shows
    what takes long.
    """

    data: DataSet
    pairs: Pairs
    seed: int
    encoder: Callable[[str], Prepared]
    scratch: Path
    cache: Cache = field(default_factory=lambda: Cache(None))
    config: MiningConfig = field(default_factory=MiningConfig)
    task: Task = unwatched
