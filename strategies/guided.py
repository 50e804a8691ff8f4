"""In-batch negatives without those that a guide considers answers."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from strategies.base import Strategy, knob, register
from strategies.batch import Batch, Loss
from strategies.batches import Batches, Clustered, Shuffled
from strategies.losses import contrast, only
from strategies.negatives import Guide, InBatch, Mined, Negatives


@register("guided")
@dataclass(frozen=True)
class Guided(Strategy):
    """Cross-entropy over the batch, in which a frozen guide masks likely answers.

    ``L_i = -log( exp(s c_ip) / (exp(s c_ip) + sum exp(s c)) )`` where the sum has the query with the
    other passages. ``contrast_queries`` adds the query with the other queries, and ``contrast_passages`` the
    positive with the other passages. A pair counts only if the guide's cosine for it is at most the threshold
    ``g_ip - m`` (``absolute``) or ``g_ip - m |g_ip|`` (``relative``). ``mined`` passages, from ranks 0 to 200
    of the encoder before training, join each query's candidates. With ``clusters`` a batch has
    pairs of one cluster, as in ``clustered``, by the guide's vectors of their queries.

    Source: GISTEmbed (Solatorio 2024), Sentence Transformers ``GISTEmbedLoss`` (temperature 0.01, margin 0,
    both contrasts). The guide (``by``) embeds every text once, before training. Contextual Document Embeddings (Morris
    and Rush 2024) masks what its guide scores above the positive in batches of one cluster.

    Published with: temperature 0.01 and a guide that is stronger than the encoder. The margins and the choice of
    contrasts are of Sentence Transformers.
    """

    scale: float = knob(100.0, low=5.0, high=100.0, log=True, source="GISTEmbedLoss temperature 0.01")
    by: str = knob("start", source="the encoder before training; GISTEmbed uses a stronger one")
    margin_kind: str = knob("absolute", choices=("absolute", "relative"), source="GISTEmbedLoss margin_strategy")
    margin: float = knob(0.0, low=0.0, high=0.2, source="GISTEmbedLoss margin")
    contrast_queries: bool = knob(True, choices=(True, False), source="GISTEmbedLoss contrast_anchors")
    contrast_passages: bool = knob(True, choices=(True, False), source="GISTEmbedLoss contrast_positives")
    mined: int = knob(0, low=0, high=7, least=0, source="GISTEmbedLoss takes triplets too")
    clusters: int | None = knob(
        None, low=2, high=100, log=True, least=2, source="Contextual Document Embeddings; Merrick 2024 has 10"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.by == "data":
            raise ValueError("strategy.by=data has scores but no vectors; name an encoder")

    @property
    def negatives(self) -> Negatives:
        return Mined(self.mined) if self.mined else InBatch()

    @property
    def batches(self) -> Batches:
        return Shuffled() if self.clusters is None else Clustered(self.clusters, self.by)

    @property
    def guide(self) -> Guide:
        return Guide(self.by)

    def loss(self, batch: Batch) -> Loss:
        guide = batch.guide
        if guide is None:
            raise TypeError("guided needs a guide's view of the batch")
        positive = guide.positive_similarity
        taken_off = self.margin * (positive.abs() if self.margin_kind == "relative" else 1)
        threshold = (positive - taken_off)[:, None]

        def kept(similarity: Tensor, seen: Tensor, negative: Tensor) -> Tensor:
            return only(self.scale * similarity, negative & (seen <= threshold))

        sides = [kept(batch.similarity, guide.similarity, batch.negative)]
        if self.contrast_queries:
            shared = batch.query_answers | batch.query_answers.T
            sides.append(kept(batch.queries @ batch.queries.T, guide.queries @ guide.queries.T, ~shared))
        if self.contrast_passages:
            mine, theirs = batch.candidates[batch.positive], guide.candidates[batch.positive]
            sides.append(kept(mine @ batch.candidates.T, theirs @ guide.candidates.T, batch.negative))
        return Loss(contrast(self.scale * batch.positive_similarity, *sides))
