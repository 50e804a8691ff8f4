"""Another model's view of a batch: a frozen encoder's, or the scores that come with the data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from bench.data.dataset import Floats, Ids
from bench.data.pairs import Pairs
from bench.data.tokens import Tokens
from bench.model.embedding import Cost, Vectors, embed
from bench.model.prepared import Prepared
from bench.negatives.context import NegativesContext
from strategies.negatives import Guide

Side = tuple[Tokens, Ids]
"""The texts of one side of batches: tokens, and the ids of those that can occur, in rising order."""


class View(Protocol):
    """A guide's view of the two sides of a batch, queries and passages, whose texts are given by id."""

    cost: Cost

    def vectors(self, queries: Ids, passages: Ids) -> tuple[Tensor, Tensor] | None:
        """Unit vectors [Q, g] and [C, g], or None from a guide that has only scores."""

    def scores(self, queries: Ids, passages: Ids) -> Tensor:
        """[Q, C] scores, NaN where there is none; ``passages`` are in rising order."""


class _Encoded:
    def __init__(self, queries: Vectors, passages: Vectors, cost: Cost) -> None:
        self.queries, self.passages, self.cost = queries, passages, cost

    def vectors(self, queries: Ids, passages: Ids) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(self.queries.take(queries)), torch.from_numpy(self.passages.take(passages))

    def scores(self, queries: Ids, passages: Ids) -> Tensor:
        of_queries, of_passages = self.vectors(queries, passages)
        return of_queries @ of_passages.T


class _Scored:
    """The scores of a FlagEmbedding file: of each query's positives and provided negatives."""

    cost = Cost()

    def __init__(self, pairs: Pairs) -> None:
        split = pairs.split
        assert split.negatives is not None and split.positive_scores is not None and split.negative_scores is not None
        self.pairs = pairs
        self.known = ((split.relevant, split.positive_scores), (split.negatives, split.negative_scores))

    def vectors(self, queries: Ids, passages: Ids) -> None:
        return None

    def scores(self, queries: Ids, passages: Ids) -> Tensor:
        found: Floats = np.full((len(queries), len(passages)), np.nan, dtype=np.float32)
        rows = self.pairs.row_of_query[queries]
        for lists, scores in self.known:
            where = lists.positions(rows)
            place = np.repeat(np.arange(len(rows)), lists.lengths[rows])
            column = np.minimum(np.searchsorted(passages, lists.values[where]), len(passages) - 1)
            hit = passages[column] == lists.values[where]
            found[place[hit], column[hit]] = scores[where[hit]]
        return torch.from_numpy(found)


def view(guide: Guide, context: NegativesContext, sides: Callable[[Prepared], tuple[Side, Side]], drawn: Ids) -> View:
    """The view of ``guide`` of the batches' two ``sides``, which depend on the encoder that reads them.

    ``drawn`` are the ids of all passages that can be sampled besides. Sides of the same texts are embedded once.
    """
    if guide.by == "data":
        return _Scored(context.pairs)
    prepared = context.encoder(guide.by)
    (queries, asked), (passages, held) = sides(prepared)
    held = np.union1d(held, drawn)

    def seen(tokens: Tokens, rows: Ids) -> tuple[Vectors, Cost]:
        return embed(prepared, tokens, rows, context.cache, context.task, "embedding for a guide", world=context.world)

    if passages is queries:
        both, cost = seen(queries, np.union1d(asked, held))
        return _Encoded(both, both, cost)
    (left, first), (right, second) = seen(queries, asked), seen(passages, held)
    return _Encoded(left, right, first + second)
