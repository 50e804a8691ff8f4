"""From the embeddings and ids of all ranks to the batch of a loss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from bench.data.pairs import Pairs
from bench.negatives import View
from bench.train.queue import PassageQueue
from bench.world import World
from strategies.batch import Batch


@dataclass(frozen=True)
class Surroundings:
    """What a batch uses beside its texts: other ranks, earlier passages, a guide's view, the strategy's head."""

    world: World
    queue: PassageQueue
    view: View | None = None
    head: nn.Module | None = None

    def joined(self, tensor: Tensor) -> Tensor:
        """The rows of all ranks, this rank's own with their gradient."""
        return torch.cat(self.world.gather(tensor))


@dataclass(frozen=True)
class Embedded:
    """The embeddings of one rank: Q queries and C distinct passages, with their ids.

    ``queries`` [Q, d], ``passages`` [C, d]; ``query_ids`` [Q], ``positive_ids`` [Q] and ``passage_ids`` [C]
    are the data set's ids, on the same device; ``own_ids`` [Q, n] the passages sampled for each query, None without
    sampling.
    """

    queries: Tensor
    passages: Tensor
    query_ids: Tensor
    positive_ids: Tensor
    passage_ids: Tensor
    own_ids: Tensor | None = None


def to_batch(mine: Embedded, pairs: Pairs, around: Surroundings) -> Batch:
    """Join all ranks' embeddings into one ``Batch``, with the passages of the queue and the guide's view.

    A passage that several ranks encoded keeps its first embedding. A passage of this batch is not taken from the queue.
    Masks are computed from the ids, so ranks exchange only embeddings and ids. The passages of the batch are queued.
    """
    joined = around.joined
    queries, passages, passage_ids = joined(mine.queries), joined(mine.passages), joined(mine.passage_ids)
    query_ids, positive_ids = (joined(ids).cpu().numpy() for ids in (mine.query_ids, mine.positive_ids))
    passage_ids, passages = _distinct(passage_ids, passages)
    recalled, of_batch = around.queue.recall(), passage_ids
    around.queue.keep(passage_ids, passages)
    if recalled is not None:
        ids, vectors = recalled
        passage_ids, passages = _distinct(
            torch.cat([passage_ids, ids]), torch.cat([passages, vectors.to(passages.dtype)])
        )
    device, columns = passages.device, passage_ids.cpu().numpy()

    def places(ids: np.ndarray) -> Tensor:
        return torch.from_numpy(np.searchsorted(columns, ids)).to(device)

    own = None if mine.own_ids is None else places(joined(mine.own_ids).cpu().numpy())
    positive = places(positive_ids)
    relevant = torch.from_numpy(pairs.relevant(query_ids, columns)).to(device)
    teacher = guide = None
    if around.view is not None:
        teacher = around.view.scores(query_ids, columns).to(device)
        seen = around.view.vectors(query_ids, columns)
        if seen is not None:
            guide = Batch(seen[0].to(device), seen[1].to(device), positive, relevant, own)
    queued = ~torch.isin(passage_ids, of_batch) if around.queue.size else None
    return Batch(queries, passages, positive, relevant, own, teacher, guide, around.head, queued=queued)


def _distinct(ids: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct ids in rising order, each with the first of its vectors."""
    distinct, first = np.unique(ids.cpu().numpy(), return_index=True)
    if len(distinct) == len(ids) and (first[1:] > first[:-1]).all():
        return ids, vectors
    return torch.from_numpy(distinct).to(ids.device), vectors[torch.from_numpy(first).to(vectors.device)]
