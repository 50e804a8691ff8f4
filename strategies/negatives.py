"""Declarations of where a strategy's negatives come from; :mod:`bench.negatives` implements them."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Negatives:
    """Base of all declarations: they say which negatives a strategy uses, not how to get them.

    ``n`` passages are sampled for each query, in addition to the batch. ``queue`` passages of earlier batches
    are further candidates after ``warmup`` steps; they are not encoded again and have no gradient.
    """

    n: int = 0
    queue: int = field(default=0, kw_only=True)
    warmup: int = field(default=0, kw_only=True)


@dataclass(frozen=True)
class NoNegatives(Negatives):
    """The loss pushes no query away from a passage."""


@dataclass(frozen=True)
class InBatch(Negatives):
    """The other queries' passages in the batch; nothing is sampled."""


@dataclass(frozen=True)
class RandomGlobal(Negatives):
    """``n`` passages drawn at random from the corpus at every step.

    With a ``pool`` they are drawn from that many passages, which are chosen once for each query.
    """

    pool: int | None = None


@dataclass(frozen=True)
class Near:
    """Passages are drawn without replacement, and those that score as the positive does are likely.

    The weight is ``exp(-sharpness (scale (c - c_p) - shift)^2)`` with the miner's scores ``c`` of the passage and
    ``c_p`` of the positive. With ``candidates`` so many are drawn first, and ``n`` of these by the weight
    ``max(0, c_pj - c)`` with ``c_pj`` the miner's cosine of the positive and the passage. So only passages that are
    nearer to the positive than to the query are drawn.
    """

    sharpness: float
    shift: float = 0.0
    scale: float = 1.0
    candidates: int | None = None


@dataclass(frozen=True)
class Mined(Negatives):
    """``n`` of the passages that a search ranks highest, without those labelled relevant.

    ``by`` names the searcher: ``start`` (the encoder before training), ``current`` (the encoder in training, which
    searches again every ``refresh`` steps), ``bm25``, or the name of an encoder. Ranks ``first`` to ``last`` are
    used (counted from 0, ``last`` excluded). Of these, a passage counts if its score is at most the positive's score
    minus ``absolute_margin``, and minus ``relative_margin`` times its absolute value. ``choice`` takes the ``top``
    of them, ``random`` ones at every step, or at every step some that are :class:`Near` the positive in score. Where
    fewer than ``n`` are left, the other places stay free: they hold the query's positive, which no loss counts as a
    negative.
    """

    by: str = "start"
    first: int = 0
    last: int = 200
    absolute_margin: float | None = None
    relative_margin: float | None = None
    choice: str | Near = "random"
    refresh: int | None = None


@dataclass(frozen=True)
class Replaced(Mined):
    """Mined passages that stay a query's negatives until they have become easy; the search itself is not repeated.

    At first they are the ``n`` highest of the ranks. Every ``refresh`` steps the encoder in training scores them. They
    are easy when their mean score times ``factor`` is below their first mean, and the absolute value of their mean is
    below ``limit``. Then the next ``n`` ranks replace them. The mean of the new ones becomes the first mean. A first
    mean that is not above 0 is left alone; so are negatives with fewer than ``n`` ranks left.
    """

    factor: float = 1.15
    limit: float = 0.8


@dataclass(frozen=True)
class Provided(Negatives):
    """``n`` of the negatives that the data set provides for a query, drawn at every step."""


@dataclass(frozen=True)
class Guide:
    """Another model's view of the batch: the encoder ``by``, frozen, or with ``data`` the data set's scores.

    ``start`` is the encoder before training. Its view is in ``Batch.guide`` and ``Batch.teacher``.
    """

    by: str
