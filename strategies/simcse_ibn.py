"""SimCSE on unlabelled texts, then in-batch negatives on pairs: the best recipe of PaddleNLP's literature search."""

from __future__ import annotations

from dataclasses import dataclass, field

from strategies.base import register
from strategies.chain import Chain
from strategies.in_batch import InBatchNegatives
from strategies.simcse import SimCSE


@register("simcse_ibn")
@dataclass(frozen=True)
class SimCSEThenInBatch(Chain):
    """Unsupervised SimCSE first, then in-batch negatives from its weights; one run, one record.

    The losses are those of :class:`strategies.simcse.SimCSE` and :class:`strategies.in_batch.InBatchNegatives`.
    ``train.stage_steps`` gives each stage its number of steps.

    Source: PaddleNLP literature search, ERNIE 1.0: Recall@1 55.976, against 51.301 of in-batch alone and
    42.374 of SimCSE alone; Recall@50 84.809, 78.881 and 72.331. Its ``--init_from_ckpt`` gives no message when
    the file is missing, so a run with this label may have had no first stage.

    Published with: the settings of its two stages, each trained in full.
    """

    simcse: SimCSE = field(default_factory=SimCSE)
    in_batch: InBatchNegatives = field(default_factory=InBatchNegatives)
