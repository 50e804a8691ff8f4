"""What carrying out a declaration may use: the data, the encoders by name, memory and a place to keep things."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from bench.data.dataset import DataSet
from bench.data.pairs import Pairs
from bench.data.tokens import Tokens
from bench.errors import at_least
from bench.model.encoder import Encoder


@dataclass(frozen=True)
class MiningConfig:
    """How mining may go about its work and who watches it; what is trained does not depend on it.

    ``memory_mb`` bounds the scores that are held at once, in MiB, beside the embeddings themselves. ``judge``
    names an encoder (``start``: the run's own before training) that estimates, in the telemetry alone, which
    unlabelled negatives answer the query, for every strategy that has no guide of its own.
    """

    memory_mb: int = 512
    judge: str | None = None

    def __post_init__(self) -> None:
        at_least("mining.memory_mb", self.memory_mb, 1)


@dataclass(frozen=True)
class Cost:
    """What was spent beside training steps: seconds, and texts encoded."""

    seconds: float = 0.0
    texts: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.seconds + other.seconds, self.texts + other.texts)


@dataclass(frozen=True)
class Reader:
    """An encoder, and the data set's queries and passages as its tokenizer cuts them."""

    encoder: Encoder
    queries: Tokens
    passages: Tokens
    precision: str


Advance = Callable[[int], None]
Task = Callable[[str, int | None], AbstractContextManager[Advance]]
"""Shows work of a name and a total while it lasts; what it yields is told how much got done."""


def unwatched(name: str, total: int | None) -> AbstractContextManager[Advance]:
    """Work that nobody watches."""
    return nullcontext(lambda count: None)


@dataclass(frozen=True)
class Setting:
    """``pairs`` are the labelled ones of ``data``'s training split.

    ``reader`` gives the encoder of a name, ``start`` and ``current`` being the one that is trained;
    ``task`` shows what takes long; ``cache`` is a directory for what can be used
    again (None: nothing is kept there), ``scratch`` one for what only this run needs.
    """

    data: DataSet
    pairs: Pairs
    seed: int
    reader: Callable[[str], Reader]
    scratch: Path
    cache: Path | None = None
    config: MiningConfig = MiningConfig()
    task: Task = unwatched
