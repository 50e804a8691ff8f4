"""Negatives whose logits grow with their hardness."""

from __future__ import annotations

from dataclasses import dataclass

from strategies.base import Strategy, knob, register
from strategies.batch import Batch, Loss
from strategies.losses import contrast, only
from strategies.negatives import InBatch, Mined, Negatives


@register("hardness_logit")
@dataclass(frozen=True)
class HardnessLogit(Strategy):
    """Cross-entropy in which each negative's cosine is added to its logit once more, as a constant.

    ``L_i = -log( exp(s c_ip) / (exp(s c_ip) + sum_j exp(a_ij c'_ij) exp(s c_ij)) )`` with ``c'`` the cosine without
    gradient, so that harder negatives have more weight. ``a_ij`` is ``own`` for the ``n`` mined passages of the query,
    from ranks 10 to 210 of the encoder before training, and ``batch`` for all others. With both at 0 it is
    :class:`strategies.mined_hard.MinedHard` at its scale. :class:`strategies.hard_weighted.HardWeighted` divides such
    weights by their mean, and they have gradient there.

    Source: EmbeddingGemma (Schechter Vera et al. 2025); LLaVE (Lan et al. 2025). Sentence Transformers has both in
    ``MultipleNegativesRankingLoss`` (``hardness_mode``). The number and the ranks of mined passages are this project's.

    Published with: 5 on own hard negatives (EmbeddingGemma); 9 on the batch (LLaVE), which is
    ``strategy.n=0 strategy.own=0 strategy.batch=9``.
    """

    mechanism = "was a negative's cosine added to its logit; set strategy.own or strategy.batch above 0"

    scale: float = knob(20.0, low=5.0, high=100.0, log=True, source="sentence-transformers MNR scale")
    own: float = knob(5.0, low=0.0, high=10.0, least=0, source="EmbeddingGemma alpha 5")
    batch: float = knob(0.0, low=0.0, high=10.0, least=0, source="EmbeddingGemma has none; LLaVE alpha 9")
    n: int = knob(1, low=1, high=7, least=0, source="this project: one a query")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.n and self.own:
            raise ValueError(
                f"strategy.n=0 leaves no negatives for strategy.own={self.own}; set strategy.own=0 strategy.batch=9"
            )

    @property
    def negatives(self) -> Negatives:
        return Mined(self.n, first=10, last=210) if self.n else InBatch()

    def loss(self, batch: Batch) -> Loss:
        own = 0.0 if batch.own is None else batch.is_own.to(batch.similarity.dtype)
        weight = self.batch + (self.own - self.batch) * own
        added = weight * batch.similarity.detach()
        logits = only(self.scale * batch.similarity + added, batch.negative)
        acted = (added.ne(0) & batch.negative).any(dim=1)
        return Loss(contrast(self.scale * batch.positive_similarity, logits), acted=acted)
