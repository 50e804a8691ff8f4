"""From embeddings and ids to the ``Batch`` a loss sees, over however many devices hold them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bench.data.pairs import Pairs
from strategies.batch import Batch

Gather = Callable[[Tensor], list[Tensor]]


def alone(tensor: Tensor) -> list[Tensor]:
    """The gathering of a single device: what it has is all there is."""
    return [tensor]


@dataclass(frozen=True)
class Embedded:
    """What one device has encoded: Q queries with their ids, C distinct passages with theirs.

    ``queries`` [Q, d], ``passages`` [C, d]; ``query_ids`` [Q], ``positive_ids`` [Q] and ``passage_ids`` [C]
    are the data set's ids; ``own_ids`` [Q, n] the passages sampled for each query, None without sampling.
    """

    queries: Tensor
    passages: Tensor
    query_ids: Tensor
    positive_ids: Tensor
    passage_ids: Tensor
    own_ids: Tensor | None = None


def to_batch(mine: Embedded, pairs: Pairs, gather: Gather = alone) -> Batch:
    """Join all devices' embeddings into one ``Batch``.

    ``gather`` gives the tensors of all devices, in order, this device's own with its gradient. A passage that
    several devices encoded keeps its first embedding; masks follow from the ids, so nothing but embeddings
    and ids crosses devices.
    """

    def joined(tensor: Tensor) -> Tensor:
        return torch.cat(gather(tensor))

    queries, passages = joined(mine.queries), joined(mine.passages)
    query_ids, positive_ids, passage_ids = (
        joined(ids).numpy() for ids in (mine.query_ids, mine.positive_ids, mine.passage_ids)
    )
    distinct, first = np.unique(passage_ids, return_index=True)
    device = passages.device
    if len(distinct) < len(passage_ids) or (first[1:] < first[:-1]).any():
        passages = passages[torch.from_numpy(first).to(device)]
    own = None
    if mine.own_ids is not None:
        own = torch.from_numpy(np.searchsorted(distinct, joined(mine.own_ids).numpy())).to(device)
    return Batch(
        queries=queries,
        candidates=passages,
        positive=torch.from_numpy(np.searchsorted(distinct, positive_ids)).to(device),
        relevant=torch.from_numpy(pairs.relevant(query_ids, distinct)).to(device),
        own=own,
    )
