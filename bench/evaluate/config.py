"""Settings of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.errors import UserError, at_least
from bench.setting import Name


@dataclass(frozen=True)
class EvalConfig:
    """What is evaluated, and at which cut-offs.

    ``ks`` are the cut-offs of recall and hit, in rising order. ``split`` is the split whose queries are evaluated.
    ``retrieve`` is the number of passages retrieved for each query. ``max_corpus`` limits the corpus to all relevant
    passages and the first others (None: no limit). ``untrained`` also evaluates the encoder before training.
    ``recall_file`` also writes ``recall_result.txt``. ``paddle_compat`` leaves out the last query, as PaddleNLP's
    ``evaluate.py`` does by an off-by-one error; use it only to compare with its numbers. ``data`` names data sets with
    sentence similarity tasks, separated by commas, which are measured instead of those of the training data.
    """

    ks: tuple[int, ...] = (1, 5, 10, 20, 50)
    split: Name = "test"
    retrieve: int = 50
    untrained: bool = True
    recall_file: bool = False
    paddle_compat: bool = False
    max_corpus: int | None = None
    data: str | None = None

    def __post_init__(self) -> None:
        shown = f"eval.ks={list(self.ks)}"
        if not self.ks:
            raise UserError(f"{shown} is empty; give at least one cut-off")
        at_least("the smallest of eval.ks", min(self.ks), 1)
        if self.max_corpus is not None and self.max_corpus < self.retrieve:
            raise UserError(
                f"eval.max_corpus={self.max_corpus} is fewer passages than the eval.retrieve={self.retrieve} that are "
                f"retrieved for each query; set eval.max_corpus to at least {self.retrieve}"
            )
        if list(self.ks) != sorted(set(self.ks)):
            raise UserError(f"{shown} must rise; write {sorted(set(self.ks))}")
        if max(self.ks) > self.retrieve:
            smaller = f", or give {fitting}" if (fitting := fitting_ks(self.ks, self.retrieve)) else ""
            raise UserError(f"{shown} exceeds eval.retrieve={self.retrieve}; raise eval.retrieve{smaller}")


def fitting_ks(ks: Sequence[int], most: int) -> str:
    """The setting, as a shell takes it, of those of ``ks`` that are at most ``most``; empty where there are none."""
    fitting = ",".join(str(k) for k in ks if k <= most)
    return f"'eval.ks=[{fitting}]'" if fitting else ""
