"""Declarations of where a strategy's negatives come from. ``bench/negatives`` carries them out."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Negatives:
    """Base of all declarations: what a strategy asks for, never how it is fetched.

    ``n`` passages are sampled for each query, beside the batch. ``queue`` passages of earlier batches are
    remembered as further candidates, after ``warmup`` steps; they are not encoded again and have no gradient.
    """

    n: int = 0
    queue: int = field(default=0, kw_only=True)
    warmup: int = field(default=0, kw_only=True)


@dataclass(frozen=True)
class InBatch(Negatives):
    """The other queries' passages in the batch; nothing is sampled."""


@dataclass(frozen=True)
class RandomGlobal(Negatives):
    """``n`` passages drawn at random from the corpus at every step.

    With a ``pool`` they are drawn from that many passages which are chosen once for each query.
    """

    pool: int | None = None


@dataclass(frozen=True)
class Mined(Negatives):
    """``n`` of the passages that a search puts highest, those labelled relevant left out.

    ``by`` names who searches: ``start`` (the encoder as it starts), ``current`` (as it is, searched again
    every ``refresh`` steps), ``bm25``, or any encoder by its name. Of the ranks ``first`` to ``last`` (counted
    from 0, ``last`` excluded) those count whose score is at most the positive's less ``absolute_margin``, and
    less ``relative_margin`` of its size. ``choice`` takes the ``top`` of them or ``random`` ones at every
    step. Where fewer than ``n`` are left, passages drawn at random take the free places.
    """

    by: str = "start"
    first: int = 0
    last: int = 200
    absolute_margin: float | None = None
    relative_margin: float | None = None
    choice: str = "random"
    refresh: int | None = None


@dataclass(frozen=True)
class Provided(Negatives):
    """``n`` of the negatives that the data set itself gives for a query, drawn at every step."""


@dataclass(frozen=True)
class Guide:
    """Another model's view of the batch: the encoder ``by``, frozen, or with ``data`` the data set's scores.

    ``start`` is the encoder as it starts. What it sees is in ``Batch.guide`` and ``Batch.teacher``.
    """

    by: str
