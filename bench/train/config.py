"""Settings of training."""

from __future__ import annotations

from dataclasses import dataclass

from bench.errors import Impossible, at_least, choice
from bench.model.precision import PRECISIONS
from bench.setting import Name
from bench.train.optimizer import SCHEDULES


@dataclass(frozen=True)
class TrainConfig:
    """Length of training and optimiser, the same for every strategy.

    ``batch_size`` counts pairs, those of all devices. ``groups`` are parts of the batch whose passages are no negatives
    of each other's queries, as on so many cards that do not exchange passages; each part is a batch of its own for the
    loss. ``micro_batch`` bounds the texts whose activations are held at once: the
    gradient is then computed exactly by the gradient cache. ``max_steps`` ends training early, 0 leaves the
    encoder untrained. ``stage_steps`` are the steps of each stage of a strategy in stages; without them each
    has ``epochs`` of its own material and at most ``max_steps``. ``warmup`` is a share of all steps below 1,
    else a number of steps; after it the rate falls to zero over the whole length (``schedule=linear``) or stays
    (``constant``). ``clip`` bounds the gradient's norm (0: not at all). ``eval_every`` steps the dev
    set is searched while training: 0 never, None once an epoch, with at most ``eval_queries`` queries and a
    corpus of ``eval_corpus`` passages (the relevant ones and the first others). With ``patience`` training, or a
    stage of it, ends early when so many of these searches in turn have found nothing better than the best before.
    ``save_every`` steps the state for a resume is written.
    """

    batch_size: int = 32
    groups: int = 1
    micro_batch: int | None = None
    epochs: int = 1
    max_steps: int | None = None
    lr: float = 5e-5
    weight_decay: float = 0.01
    warmup: float = 0.1
    schedule: Name = "linear"
    clip: float = 1.0
    precision: Name = "auto"
    recompute: bool = False
    save_every: int = 500
    eval_every: int | None = None
    eval_queries: int = 1000
    eval_corpus: int = 20000
    patience: int | None = None
    log_every: int = 10
    stage_steps: tuple[int, ...] | None = None
    init_from: Name | None = None

    def __post_init__(self) -> None:
        at_least("train.batch_size", self.batch_size, 1)
        at_least("train.groups", self.groups, 1)
        if self.groups > self.batch_size:
            raise Impossible(f"train.groups={self.groups}, but train.batch_size={self.batch_size} has fewer pairs")
        if self.micro_batch is not None:
            at_least("train.micro_batch", self.micro_batch, 1)
        at_least("train.epochs", self.epochs, 0)
        if self.max_steps is not None:
            at_least("train.max_steps", self.max_steps, 0)
        for name in ("lr", "weight_decay", "warmup", "clip"):
            at_least(f"train.{name}", getattr(self, name), 0)
        choice("train.precision", self.precision, PRECISIONS)
        choice("train.schedule", self.schedule, SCHEDULES)
        for name in ("save_every", "log_every", "eval_queries", "eval_corpus"):
            at_least(f"train.{name}", getattr(self, name), 1)
        for steps in self.stage_steps or ():
            at_least("train.stage_steps", steps, 1)
        if self.eval_every is not None:
            at_least("train.eval_every", self.eval_every, 0)
        if self.patience is not None:
            at_least("train.patience", self.patience, 1)
            if self.eval_every == 0:
                raise Impossible(f"train.patience={self.patience} needs evaluations on dev, and train.eval_every=0")

    @property
    def trains(self) -> bool:
        """Whether these settings allow any training step."""
        return self.epochs > 0 and self.max_steps != 0
