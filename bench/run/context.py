"""The context of a run: what it is part of, who may end it early, and the services that it uses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from bench.cache import Cache
from bench.config.run import RunConfig
from bench.progress import Display
from bench.record.store import RunDirectory
from bench.track.base import Tracker
from bench.world import World


class Pruned(Exception):
    """Raised by the watcher of a run to end it early, without a result."""


@dataclass(frozen=True)
class RunContext:
    """What a run is part of: W&B's group (by default the strategy) and job type, its watcher, and if it was chosen.

    ``watch`` is called with the step and the metrics of each dev evaluation in training, and may raise :class:`Pruned`.
    ``keep=best`` keeps the weights of a run that is ``chosen``: not those of a trial. ``settings`` says in messages
    which settings of a study the run has, without the groups of their keys.
    """

    group: str | None = None
    job_type: str = "train"
    watch: Callable[[int, dict[str, float]], None] = lambda step, metrics: None
    chosen: bool = True
    settings: tuple[str, ...] = ()


STANDALONE = RunContext()


@dataclass(frozen=True)
class ActiveRun:
    """What every step of a run may use: its configuration, its directory, the shared cache, tracker and display.

    ``world`` are the processes that train the run together.
    """

    config: RunConfig
    directory: RunDirectory
    tracker: Tracker
    display: Display
    cache: Cache
    context: RunContext = STANDALONE
    world: World = field(default_factory=World)

    @property
    def keeps_weights(self) -> bool:
        """Whether the run leaves its weights behind."""
        return self.config.keep == "all" or (self.config.keep == "best" and self.context.chosen)
