"""Telemetry of a batch, for any strategy. Each kind of batch registers its measurements."""

from __future__ import annotations

from functools import singledispatch

import torch
from torch import Tensor

from bench.negatives import Drawn
from bench.train.groups import Groups
from strategies import Batch, LabelledBatch, Loss

AnyBatch = Batch | LabelledBatch | Groups

QUANTILES = {"p10": 0.1, "p50": 0.5, "p90": 0.9}
MANY = 1 << 16  # similarities that quantiles are taken of; of more, an even selection


@singledispatch
def observe(batch: AnyBatch) -> None:
    """Before the loss is computed: make the batch keep what :func:`measure` needs."""


@observe.register
def _observe_pairs(batch: Batch) -> None:
    batch.similarity.retain_grad()  # for the number of effective negatives


@singledispatch
def measure(batch: AnyBatch, loss: Loss, drawn: Drawn | None = None) -> dict[str, Tensor]:
    """Scalars of one batch, after its backward pass; ``drawn`` are the negatives sampled for it."""
    raise TypeError(f"there is no telemetry for a {type(batch).__name__}")


@measure.register
@torch.no_grad()
def _measure_pairs(batch: Batch, loss: Loss, drawn: Drawn | None = None) -> dict[str, Tensor]:
    """``positive_similarity``, ``negative_similarity`` and ``hardest_similarity`` are mean cosines of the own
    positive, of all negatives and of each query's hardest one, ``..._p10``, ``_p50``, ``_p90`` their
    quantiles; ``positive_rank`` is the mean rank of the positive among its negatives (1 is first); ``active``
    the share of queries with a loss above zero (1e-6); ``negatives`` the mean number of negatives of a query
    and ``effective_negatives`` how many of them carry gradient: ``(sum g)^2 / sum g^2`` of the loss's gradients ``g``
    by their similarities. ``spread`` is the standard deviation of a query's similarities, near zero when all
    texts have one embedding. ``alignment`` and ``uniformity`` are those of Wang and Isola (2020): the mean
    squared distance of positive pairs, and the log mean Gaussian potential of candidate pairs. ``generation`` is the
    cross-entropy of a target token. ``acted`` is the share of queries on which the mechanism of the strategy's loss
    acted, ``queued`` the mean number of a query's negatives that are from earlier batches.

    False negatives: ``labelled_masked`` is the share of the candidates other than the positive that are
    labelled relevant, hence masked; ``guide_above`` the share of negatives that a guide (or the judge of
    ``mining.judge``) scores above the positive. Of the negatives ``drawn`` for the queries, ``drawn_labelled``
    is the share that is labelled relevant, hence masked, ``drawn_above`` the share that the miner scores above
    the positive, and ``drawn_free`` the share of places for which there was none. ``drawn`` is the mean number of
    negatives that were drawn for a query and are not masked, and ``drawn_again`` is 1 where some have replaced those
    of the start, else 0.
    """
    similarity, positive, negative = batch.similarity, batch.positive_similarity, batch.negative
    count = negative.sum(1)
    some = count > 0
    hardest = similarity.masked_fill(~negative, -torch.inf).amax(1)
    others = negative.shape[1] - 1
    return {
        "positive_similarity": positive.mean(),
        "negative_similarity": _mean((similarity * negative).sum(1) / count.clamp(min=1), some),
        "hardest_similarity": _mean(hardest, some),
        **_quantiles("positive_similarity", positive),
        **_quantiles("negative_similarity", similarity[negative]),
        "positive_rank": 1 + ((similarity >= positive[:, None]) & negative).sum(1).float().mean(),
        "active": (loss.per_example > 1e-6).float().mean(),
        "negatives": count.float().mean(),
        **_effective(similarity.grad, negative),
        "labelled_masked": (batch.relevant.sum(1) - 1).float().mean() / max(1, others),
        # A single candidate has no spread: not zero, which would say that all texts have become one.
        "spread": similarity.std(1, correction=0).mean() if others else torch.tensor(torch.nan),
        "alignment": (2 - 2 * positive).mean(),
        "uniformity": _uniformity(batch.candidates),
        **_suspected(batch),
        **({} if batch.generation is None else {"generation": batch.generation.mean()}),
        **({} if batch.queued is None else {"queued": (negative & batch.queued).sum(1).float().mean()}),
        **_acted(loss),
        **_drawn(batch, drawn),
    }


@measure.register
def _measure_groups(batch: Groups, loss: Loss, drawn: Drawn | None = None) -> dict[str, Tensor]:
    """Of each scalar the mean over the groups that have it."""
    rows = [measure(group.batch, group.loss, group.drawn) for group in batch.groups]
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: torch.stack([row[name] for row in rows if name in row]).mean() for name in names}


@measure.register
@torch.no_grad()
def _measure_labelled(batch: LabelledBatch, loss: Loss, drawn: Drawn | None = None) -> dict[str, Tensor]:
    """``pair_similarity`` is the mean cosine of the two texts of a pair, with its quantiles; ``active`` the share of
    pairs with a loss above zero (1e-6); ``spread`` the standard deviation of a left text's cosines with all right
    ones, near zero when all texts have one embedding.
    """
    similarity = batch.similarity
    several = len(batch.left) > 1
    return {
        "pair_similarity": similarity.mean(),
        **_quantiles("pair_similarity", similarity),
        "active": (loss.per_example > 1e-6).float().mean(),
        "spread": (batch.left @ batch.right.T).std(1, correction=0).mean() if several else torch.tensor(torch.nan),
        "uniformity": _uniformity(torch.cat([batch.left, batch.right])),
        **_acted(loss),
    }


def _acted(loss: Loss) -> dict[str, Tensor]:
    return {} if loss.acted is None else {"acted": loss.acted.float().mean()}


def _mean(values: Tensor, there: Tensor) -> Tensor:
    """The mean of ``values`` where ``there`` is true; 0 where it never is."""
    return torch.where(there, values, 0.0).sum() / there.sum().clamp(min=1)


def _quantiles(name: str, values: Tensor) -> dict[str, Tensor]:
    if not len(values):
        return {}
    some = values[:: -(-len(values) // MANY)].float()
    found = torch.quantile(some, torch.tensor(list(QUANTILES.values()), device=some.device))
    return dict(zip((f"{name}_{q}" for q in QUANTILES), found, strict=True))


def _effective(gradient: Tensor | None, negative: Tensor) -> dict[str, Tensor]:
    if gradient is None:
        return {}
    pull = gradient.double().abs() * negative
    total = pull.sum(1)
    share = total.square() / pull.square().sum(1).clamp(min=torch.finfo(torch.float64).tiny)
    return {"effective_negatives": _mean(share, total > 0).float()}


def _uniformity(candidates: Tensor) -> Tensor:
    distance = (2 - 2 * candidates @ candidates.T).clamp(min=0)
    apart = ~torch.eye(len(distance), dtype=torch.bool, device=distance.device)
    potential = (torch.exp(-2 * distance) * apart).sum() / max(1, len(distance) * (len(distance) - 1))
    return torch.log(potential.clamp(min=1e-12))


def _suspected(batch: Batch) -> dict[str, Tensor]:
    if batch.teacher is None:
        return {}
    known = batch.negative & ~batch.teacher.isnan()
    above = batch.teacher > batch.teacher.gather(1, batch.positive[:, None])
    return {"guide_above": (above & known).sum() / known.sum().clamp(min=1)}


def _drawn(batch: Batch, drawn: Drawn | None) -> dict[str, Tensor]:
    if drawn is None or batch.own is None:
        return {}
    free = torch.from_numpy(drawn.free).to(batch.own.device)
    labelled = batch.relevant.gather(1, batch.own) & ~free
    count = (~free).sum().clamp(min=1)
    told = {
        "drawn": batch.own_negative.sum(1).float().mean(),
        "drawn_free": free.float().mean(),
        "drawn_labelled": labelled.sum() / count,
    }
    if drawn.again is not None:
        told["drawn_again"] = torch.tensor(float(drawn.again))
    if drawn.above is not None:
        told["drawn_above"] = torch.from_numpy(drawn.above).to(free.device).sum() / count
    return told
