"""The contrastive loss of Qwen3-Embedding, which masks what scores far above the positive."""

from __future__ import annotations

from dataclasses import dataclass

from strategies.base import Strategy, knob, register
from strategies.batch import Batch, Loss
from strategies.losses import contrast, only
from strategies.negatives import Mined, Negatives


@register("qwen3")
@dataclass(frozen=True)
class Qwen3(Strategy):
    """Cross-entropy over passages and queries, without those that score far above the positive.

    ``L_i = -log( exp(s c_ip) / (exp(s c_ip) + sum exp(s c)) )`` where the sum has the query with the other passages
    of the batch, its own ``n`` mined ones included. ``contrast_queries`` adds the query with the other queries, and
    ``contrast_passages`` the positive with the other passages. A passage ``j`` is left out of both its terms where
    ``c_ij > c_ip + m``, and a query where its cosine with query ``i`` is above that. The mask has no gradient.

    Source: Qwen3-Embedding (Zhang et al. 2025). ms-swift ``InfonceLoss`` has temperature 0.1,
    leaves out both ``contrast`` terms by default, and masks no passage in the positive's term. Unlike in both, labelled
    passages are never negatives, and a passage drawn twice counts once. The number and the ranks of mined passages are
    this project's.

    Published with: margin 0.1, all terms; the temperature of 0.1 is that of ms-swift.
    """

    scale: float = knob(10.0, low=5.0, high=100.0, log=True, source="ms-swift INFONCE_TEMPERATURE 0.1")
    margin: float = knob(0.1, low=0.0, high=0.3, source="Qwen3-Embedding: 0.1")
    contrast_queries: bool = knob(True, choices=(True, False), source="Qwen3-Embedding; ms-swift has false")
    contrast_passages: bool = knob(True, choices=(True, False), source="Qwen3-Embedding; ms-swift has false")
    n: int = knob(7, low=1, high=15, log=True, least=1, source="this project, as mined_hard")

    @property
    def negatives(self) -> Negatives:
        return Mined(self.n, first=10, last=210)

    def loss(self, batch: Batch) -> Loss:
        highest = batch.positive_similarity[:, None] + self.margin
        passages = batch.negative & (batch.similarity <= highest)
        sides = [only(self.scale * batch.similarity, passages)]
        if self.contrast_queries:
            queries = batch.queries @ batch.queries.T
            shared = batch.query_answers | batch.query_answers.T
            sides.append(only(self.scale * queries, ~shared & (queries <= highest)))
        if self.contrast_passages:
            positives = batch.candidates[batch.positive]
            sides.append(only(self.scale * (positives @ batch.candidates.T), passages))
        return Loss(contrast(self.scale * batch.positive_similarity, *sides))
