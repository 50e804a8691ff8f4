"""Learning a teacher's cosines between all texts of a batch."""

from __future__ import annotations

from dataclasses import dataclass

from strategies.base import Strategy, knob, register
from strategies.batch import Batch, LabelledBatch, Loss
from strategies.examples import Examples, LabelledPairs, TaskPairs, TwoViews
from strategies.losses import cosine_error
from strategies.negatives import Guide, Negatives, NoNegatives

TEXTS: dict[str, Examples] = {
    "pairs": LabelledPairs(),
    "tasks": TaskPairs(),
    "unlabelled": TwoViews("unlabelled"),
    "corpus": TwoViews("corpus"),
}


@register("similarity_distil")
@dataclass(frozen=True)
class SimilarityDistillation(Strategy):
    """The cosines of all texts of the batch with each other, fitted to a teacher's.

    ``L = weight / n^2 sum_ij (cos(u_i, u_j) - cos(v_i, v_j))^2`` over the ``n`` texts of the batch, ``u`` being the
    student's vectors and ``v`` the teacher's. ``i = j`` adds 0. A teacher's vectors may have any length, as only
    cosines are compared. No label is used, and the loss has one term a text. ``texts`` are both sides of the labelled
    ``pairs``, both sides of the similarity ``tasks``' training pairs, or texts that are encoded twice under dropout:
    the data set's ``unlabelled`` ones or its ``corpus``. ``teacher`` embeds each text once, before training. It is
    the name of an encoder, a directory, or a run's id. :class:`strategies.distil.Distillation` fits a query's
    similarities with its own candidates instead.

    Source: RoFormer-Sim (Su 2021), second stage, which also generates.

    Published with: weight 100, teacher SimBERT, 48 similar pairs a batch, learning rate 1e-5, some 5,000 steps.
    """

    weight: float = knob(100.0, low=1.0, high=1000.0, log=True, source="RoFormer-Sim train/stage2.py: 100")
    teacher: str = knob("minilm", source="an encoder's name, a directory, or a run")
    texts: str = knob("pairs", choices=tuple(TEXTS), source="RoFormer-Sim: both texts of similar pairs")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.teacher == "data":
            raise ValueError("strategy.teacher=data has scores but no vectors; name an encoder")

    @property
    def negatives(self) -> Negatives:
        return NoNegatives()

    @property
    def examples(self) -> Examples:
        return TEXTS[self.texts]

    @property
    def guide(self) -> Guide:
        return Guide(self.teacher)

    def loss(self, batch: Batch | LabelledBatch) -> Loss:
        if batch.guide is None:
            raise TypeError("similarity_distil needs a teacher's view of the batch")
        return Loss(self.weight * cosine_error(batch.texts, batch.guide.texts))
