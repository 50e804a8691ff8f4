"""A memory of the passages of earlier batches."""

from __future__ import annotations

from dataclasses import dataclass

from strategies.base import Strategy, knob, register
from strategies.batch import Batch, Loss
from strategies.losses import cross_entropy
from strategies.negatives import InBatch, Negatives


@register("queue")
@dataclass(frozen=True)
class CrossBatchMemory(Strategy):
    """Cross-entropy of the positive against the batch and the last ``size`` passages before it.

    ``L_i = -log( exp(s c_ip) / sum_j exp(s c_ij) )``; embeddings in the memory are as old as their
    batch and have no gradient, so they cost nothing to encode. They count after ``warmup`` steps, when
    embeddings drift only slowly; a run of no more steps would never use them, and is refused. A passage that is in the
    batch again has only its new embedding.

    Source: cross-batch memory (Wang et al. 2020, XBM), as in pytorch-metric-learning ``CrossBatchMemory``; MoCo (He et
    al. 2020) keeps a queue of another encoder's embeddings.

    Published with: contrastive loss, batches of 64 images, 55,000 images in memory after 1,000 of 35,000 steps
    (``msight-tech/research-xbm``); pytorch-metric-learning has a memory of 1,024 and no warm-up.
    """

    scale: float = knob(20.0, low=5.0, high=100.0, log=True, source="sentence-transformers MNR scale")
    size: int = knob(1024, low=128, high=8192, log=True, least=1, source="pytorch-metric-learning memory_size")
    warmup: int = knob(
        50, low=0, high=500, least=0, counts_steps=True, source="this project; XBM: 1,000 of 35,000 steps"
    )

    @property
    def negatives(self) -> Negatives:
        return InBatch(queue=self.size, warmup=self.warmup)

    def loss(self, batch: Batch) -> Loss:
        return Loss(cross_entropy(batch, self.scale))
