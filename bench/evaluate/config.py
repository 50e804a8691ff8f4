"""Settings of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass

from bench.errors import UserError, at_least


@dataclass(frozen=True)
class EvalConfig:
    """What is evaluated, and at which cut-offs.

    ``ks`` are the cut-offs of recall and hit, rising; ``split`` the split whose queries are asked;
    ``retrieve`` the passages retrieved for each, of at most ``max_corpus``: all relevant ones and the first
    others (None: of all); ``untrained`` also evaluates the encoder as it was before
    training; ``recall_file`` also writes ``recall_result.txt``. ``paddle_compat`` leaves out the last query,
    as the documented PaddleNLP ``evaluate.py`` does by an off-by-one: only for comparing with its numbers.
    """

    ks: tuple[int, ...] = (1, 5, 10, 20, 50)
    split: str = "test"
    retrieve: int = 50
    untrained: bool = True
    recall_file: bool = False
    paddle_compat: bool = False
    max_corpus: int | None = None

    @property
    def selection(self) -> str:
        """The metric of dev that chooses which weights are kept: exact MRR at 10, or as far as is retrieved."""
        return f"exact/mrr@{min(10, self.retrieve)}"

    def __post_init__(self) -> None:
        shown = f"eval.ks={list(self.ks)}"
        if not self.ks:
            raise UserError(f"{shown} is empty; give at least one cut-off")
        at_least("the smallest of eval.ks", min(self.ks), 1)
        if self.max_corpus is not None:
            at_least("eval.max_corpus", self.max_corpus, self.retrieve)
        if list(self.ks) != sorted(set(self.ks)):
            raise UserError(f"{shown} must rise; write {sorted(set(self.ks))}")
        if max(self.ks) > self.retrieve:
            raise UserError(f"{shown} looks further than eval.retrieve={self.retrieve}; raise eval.retrieve")
