"""Mined hard negatives: passages that a search ranks high and that are not labelled relevant."""

from __future__ import annotations

from dataclasses import dataclass

from strategies.base import Strategy, knob, register
from strategies.batch import Batch, Loss
from strategies.losses import cross_entropy
from strategies.negatives import Mined, Negatives


@register("mined_hard")
@dataclass(frozen=True)
class MinedHard(Strategy):
    """Cross-entropy of the positive against mined passages and the rest of the batch.

    ``L_i = -log( exp(s c_ip) / sum_j exp(s c_ij) )`` over all groups' passages, or with ``local`` over the
    query's own group alone. ``n`` negatives are taken from the ranks ``first`` to ``last`` of a search over
    the corpus. ``by`` is what searches: the encoder before training (``start``), ``bm25``, or the name of an
    encoder. Labelled passages are left out. Positive-aware mining keeps a passage only if its score is at most
    the positive's score minus ``absolute_margin``, and at most (1 - ``relative_margin``) of it.

    Source: FlagEmbedding ``hn_mine`` (ranks 10 to 210, 15 negatives, group of 8, temperature 0.02);
    positive-aware thresholds from NV-Retriever (Moreira et al. 2024, 95 % of the positive) as in Sentence
    Transformers ``mine_hard_negatives``. ``hn_mine`` draws 15 once, and training takes seven of them; here every step
    draws anew, with a seed.

    Published with: temperature 0.02, groups of 8, batches of 2 queries, learning rate 1e-5, 2 epochs (FlagEmbedding's
    example); thresholds of NV-Retriever for scores of another, larger encoder.
    """

    scale: float = knob(50.0, low=5.0, high=100.0, log=True, source="FlagEmbedding temperature 0.02")
    n: int = knob(7, low=1, high=15, log=True, least=1, source="FlagEmbedding train_group_size 8")
    by: str = knob("start", source="FlagEmbedding hn_mine, which searches with the model it will train")
    first: int = knob(10, low=0, high=50, least=0, source="FlagEmbedding hn_mine range_for_sampling 10-210")
    last: int = knob(210, low=60, high=500, log=True, least=1, source="FlagEmbedding hn_mine range_for_sampling")
    absolute_margin: float | None = knob(None, low=0.0, high=0.2, least=0, source="mine_hard_negatives")
    relative_margin: float | None = knob(None, low=0.0, high=0.3, least=0, source="NV-Retriever has 0.05")
    choice: str = knob("random", choices=("random", "top"), source="hn_mine; mine_hard_negatives has top")
    local: bool = knob(False, choices=(False, True), source="FlagEmbedding no_in_batch_neg")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.last - self.first < self.n:
            raise ValueError(
                f"strategy.first={self.first} and strategy.last={self.last} leave {max(0, self.last - self.first)} "
                f"ranks for strategy.n={self.n} negatives"
            )

    @property
    def negatives(self) -> Negatives:
        margins = self.absolute_margin, self.relative_margin
        return Mined(self.n, self.by, self.first, self.last, *margins, self.choice)

    def loss(self, batch: Batch) -> Loss:
        return Loss(cross_entropy(batch, self.scale, local=self.local))
