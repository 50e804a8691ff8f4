"""Learning a teacher's scores."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from strategies.base import Strategy, knob, register
from strategies.batch import Batch, Loss
from strategies.losses import cross_entropy, only
from strategies.negatives import Guide, InBatch, Mined, Negatives, Provided


@register("distil")
@dataclass(frozen=True)
class Distillation(Strategy):
    """The student's scores fitted to a teacher's, with or without the contrastive loss.

    ``kl``: ``-sum_j t_j log softmax(s c)_j`` with ``t`` the softmax of the teacher's scores times
    ``teacher_scale``; ``margin_mse``: the mean over negatives of
    ``(s (c_p - c_n) - teacher_scale (t_p - t_n))^2``. ``contrast`` times the cross-entropy over the batch is
    added. ``over="group"`` compares the positive and the ``n`` passages sampled for the query. ``"batch"``
    compares the positive and all negatives of the batch. ``teacher`` is an encoder, which embeds each text
    once, or ``data``: the scores in a FlagEmbedding file, which exist only for the query's own group.

    Source: FlagEmbedding ``kd_loss_type kl_div`` (temperature 0.02, teacher's scores as they are, plus the
    contrastive loss with weight 1); margin-MSE from Hofstätter et al. 2020, as in Sentence Transformers
    ``MarginMSELoss``.

    Published with: a cross-encoder as the teacher. FlagEmbedding's example has temperature 0.02, groups of 8, batches
    of 2 queries, learning rate 1e-5, 2 epochs. Margin-MSE has dot products and no scale on either side.
    """

    kind: str = knob("kl", choices=("kl", "margin_mse"), source="FlagEmbedding kd_loss_type; MarginMSELoss")
    over: str = knob("group", choices=("group", "batch"), source="FlagEmbedding: own group")
    teacher: str = knob("minilm", source="an encoder's name, or data")
    scale: float = knob(50.0, low=5.0, high=100.0, log=True, source="FlagEmbedding temperature 0.02")
    teacher_scale: float = knob(50.0, low=1.0, high=100.0, log=True, source="this project: as sharp as the student's")
    contrast: float = knob(1.0, low=0.0, high=2.0, least=0, source="FlagEmbedding adds the contrastive loss")
    n: int = knob(7, low=1, high=15, log=True, least=1, source="FlagEmbedding train_group_size 8")

    mechanism = "did the teacher score the positive and a negative; look at the scores of the data set"

    @property
    def negatives(self) -> Negatives:
        if self.teacher == "data":
            return Provided(self.n)
        return Mined(self.n, first=10, last=210) if self.over == "group" else InBatch()

    @property
    def guide(self) -> Guide:
        return Guide(self.teacher)

    def loss(self, batch: Batch) -> Loss:
        if batch.teacher is None:
            raise TypeError("distil needs a teacher's scores of the batch")
        known = ~batch.teacher.isnan()
        compared = batch.negative if self.over == "batch" else batch.is_own
        compared = compared & known & known.gather(1, batch.positive[:, None])
        terms = self._distil(batch, batch.teacher, compared)
        if self.contrast:
            terms = terms + self.contrast * cross_entropy(batch, self.scale)
        return Loss(terms, acted=compared.any(dim=1))

    def _distil(self, batch: Batch, scores: Tensor, compared: Tensor) -> Tensor:
        student = self.scale * batch.similarity
        teacher = self.teacher_scale * scores.nan_to_num().to(student.dtype)
        if self.kind == "kl":
            group = compared | batch.is_positive
            target = only(teacher, group).softmax(1)
            return -(target * only(student, group).log_softmax(1).where(group, 0.0)).sum(1)
        margins = [x.gather(1, batch.positive[:, None]) - x for x in (student, teacher)]
        error = (margins[0] - margins[1]).square().where(compared, 0.0)
        return error.sum(1) / compared.sum(1).clamp(min=1)
