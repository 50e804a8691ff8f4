"""What a batch tells about itself, for every strategy alike."""

from __future__ import annotations

import torch
from torch import Tensor

from strategies import Batch, Loss


@torch.no_grad()
def measure(batch: Batch, loss: Loss) -> dict[str, Tensor]:
    """Scalars of one batch.

    ``positive_similarity``, ``negative_similarity`` and ``hardest_similarity`` are mean cosines of the own
    positive, of all negatives and of each query's hardest one; ``positive_rank`` is the mean rank of the
    positive among its negatives (1 is first); ``active`` the share of queries with a loss above zero (1e-6);
    ``negatives`` the mean number of negatives of a query; ``labelled_masked`` the share of the candidates
    other than the positive that are labelled relevant, hence masked: the labelled false negatives of the
    batch; ``spread`` the standard deviation of a query's similarities, near zero when all texts have one
    embedding. ``alignment`` and ``uniformity`` are those of Wang and Isola (2020): the mean squared distance
    of positive pairs, and the log mean Gaussian potential of candidate pairs.
    """
    similarity, positive = batch.similarity, batch.positive_similarity
    negative = ~batch.relevant
    count = negative.sum(1)
    some = count > 0
    share = some.float().mean().clamp(min=1e-12)

    def over_queries(values: Tensor) -> Tensor:
        return torch.where(some, values, 0.0).mean() / share

    hardest = similarity.masked_fill(~negative, -torch.inf).amax(1)
    others = negative.shape[1] - 1
    distance = (2 - 2 * batch.candidates @ batch.candidates.T).clamp(min=0)
    apart = ~torch.eye(len(distance), dtype=torch.bool, device=distance.device)
    potential = (torch.exp(-2 * distance) * apart).sum() / max(1, len(distance) * (len(distance) - 1))
    return {
        "positive_similarity": positive.mean(),
        "negative_similarity": over_queries((similarity * negative).sum(1) / count.clamp(min=1)),
        "hardest_similarity": over_queries(hardest),
        "positive_rank": 1 + ((similarity >= positive[:, None]) & negative).sum(1).float().mean(),
        "active": (loss.per_query > 1e-6).float().mean(),
        "negatives": count.float().mean(),
        "labelled_masked": (batch.relevant.sum(1) - 1).float().mean() / max(1, others),
        # A single candidate has no spread: not zero, which would say that all texts have become one.
        "spread": similarity.std(1, correction=0).mean() if others else torch.tensor(torch.nan),
        "alignment": (2 - 2 * positive).mean(),
        "uniformity": torch.log(potential.clamp(min=1e-12)),
    }
