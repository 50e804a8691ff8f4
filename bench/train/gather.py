"""From embeddings and ids to the ``Batch`` a loss sees, over however many devices hold them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bench.data.pairs import Pairs
from bench.negatives import View
from bench.train.memory import Memory
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


def to_batch(
    mine: Embedded, pairs: Pairs, gather: Gather = alone, memory: Memory | None = None, view: View | None = None
) -> Batch:
    """Join all devices' embeddings into one ``Batch``, with what ``memory`` recalls and as ``view`` sees it.

    ``gather`` gives the tensors of all devices, in order, this device's own with its gradient. A passage that
    several devices encoded keeps its first embedding, one that was encoded now is not recalled; masks follow
    from the ids, so nothing but embeddings and ids crosses devices. What was encoded is remembered.
    """

    def joined(tensor: Tensor) -> Tensor:
        return torch.cat(gather(tensor))

    queries, passages, passage_ids = joined(mine.queries), joined(mine.passages), joined(mine.passage_ids)
    query_ids, positive_ids = (joined(ids).numpy() for ids in (mine.query_ids, mine.positive_ids))
    passage_ids, passages = _distinct(passage_ids, passages)
    if memory is not None:
        recalled = memory.recall()
        memory.keep(passage_ids, passages)
        if recalled is not None:
            ids, vectors = recalled
            passage_ids, passages = _distinct(
                torch.cat([passage_ids, ids]), torch.cat([passages, vectors.to(passages.dtype)])
            )
    device, columns = passages.device, passage_ids.numpy()

    def places(ids: np.ndarray) -> Tensor:
        return torch.from_numpy(np.searchsorted(columns, ids)).to(device)

    own = None if mine.own_ids is None else places(joined(mine.own_ids).numpy())
    positive = places(positive_ids)
    relevant = torch.from_numpy(pairs.relevant(query_ids, columns)).to(device)
    teacher = guide = None
    if view is not None:
        teacher = view.scores(query_ids, columns).to(device)
        seen = view.vectors(query_ids, columns)
        if seen is not None:
            guide = Batch(seen[0].to(device), seen[1].to(device), positive, relevant, own)
    return Batch(queries, passages, positive, relevant, own, teacher, guide)


def _distinct(ids: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Ids in rising order, each once, with the first of the vectors that go with it."""
    distinct, first = np.unique(ids.numpy(), return_index=True)
    if len(distinct) == len(ids) and (first[1:] > first[:-1]).all():
        return ids, vectors
    return torch.from_numpy(distinct), vectors[torch.from_numpy(first).to(vectors.device)]
