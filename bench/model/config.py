"""Settings of the encoder."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bench.errors import UserError, at_least, at_most, choice
from bench.setting import Name

WHOLE = ("pooler", "pooler_linear", "first_last_mean")
"""Poolings that stand alone."""
PARTS = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
"""Poolings that may also be joined by ``+``. Names and definitions are those of Sentence Transformers."""
POOLINGS = (*PARTS, *WHOLE)
QUERY_TOKENS, PASSAGE_TOKENS = 64, 128
POST = re.compile(r"none|centre|whitening(-[1-9]\d*)?")


@dataclass(frozen=True)
class Reading:
    """How texts of one kind are read: ``prefix`` is put before each, and it is cut to ``tokens``."""

    tokens: int
    prefix: str


@dataclass(frozen=True)
class EncoderConfig:
    """The encoder of queries and passages: its weights, its pooling, and the longest texts.

    ``name`` is a preset (:data:`bench.model.described.PRESETS`), a directory or a hub id. What is None is what the
    encoder's directory says (:mod:`bench.model.described`), else a default. ``pooling`` is the hidden state of the
    first token (``cls``) or of the last (``lasttoken``), the model's own pooler on the first (``pooler``: dense and
    tanh; ``pooler_linear``: dense alone), the mean of the last layer (``mean``) or of the first and the last
    (``first_last_mean``), the mean weighted by position (``weightedmean``), the largest values (``max``), or several
    joined by ``+``: ``cls+mean``.
    ``output_dim`` adds a projection with dropout before normalisation, as PaddleNLP's model has; it replaces a
    directory's dense layers of another size. ``layers`` keeps those layers only; without any, the token embeddings
    are pooled. A model whose tokens see only those before them is taken only with ``causal``, and a directory with
    program code of its own only with ``trust_remote_code``. ``post`` processes the vectors after training (``centre``,
    ``whitening``, or ``whitening-256``, which keeps 256 values; see :mod:`bench.model.post`). It is fitted on the texts
    of ``post_on``: those of the train split; ``all`` texts of the data set, those that are evaluated included; or for
    each similarity ``task`` all texts of that task, which the saved model does not have, as it cannot know the task of
    a text.
    """

    name: Name = "minilm-l3"
    pooling: Name | None = None
    output_dim: int | None = None
    layers: tuple[int, ...] | None = None
    max_query_tokens: int | None = None
    max_passage_tokens: int | None = None
    query_prefix: str | None = None
    passage_prefix: str | None = None
    causal: bool = False
    trust_remote_code: bool = False
    post: Name = "none"
    post_on: Name = "train"

    def __post_init__(self) -> None:
        if self.pooling is not None:
            _check_joined(self.pooling)
            if "+" not in self.pooling:
                choice("encoder.pooling", self.pooling, POOLINGS)
        if self.output_dim is not None:
            at_least("encoder.output_dim", self.output_dim, 1)
            at_most("encoder.output_dim", self.output_dim, 2**16)
        if not POST.fullmatch(self.post):
            raise UserError(
                f"encoder.post={self.post!r} is not one of none, centre, whitening, whitening-N (keeps N values)"
            )
        choice("encoder.post_on", self.post_on, ("train", "all", "task"))
        for name in ("max_query_tokens", "max_passage_tokens"):
            if (value := getattr(self, name)) is not None:
                at_least(f"encoder.{name}", value, 3)

    @property
    def query(self) -> Reading:
        """How queries are read."""
        return Reading(self.max_query_tokens or QUERY_TOKENS, self.query_prefix or "")

    @property
    def passage(self) -> Reading:
        """How passages are read."""
        return Reading(self.max_passage_tokens or PASSAGE_TOKENS, self.passage_prefix or "")


def _check_joined(pooling: str) -> None:
    """Raise :class:`UserError` for poolings joined by ``+`` that differ not, do not exist, or stand alone."""
    parts = pooling.split("+")
    for part in parts if len(parts) > 1 else ():
        if part not in PARTS or parts.count(part) > 1:
            raise UserError(f"encoder.pooling={pooling}: what is joined by + must differ, and be of {', '.join(PARTS)}")
