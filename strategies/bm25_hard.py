"""Hard negatives that share the query's words."""

from __future__ import annotations

from dataclasses import dataclass

from strategies.base import knob, register
from strategies.mined_hard import MinedHard


@register("bm25_hard")
@dataclass(frozen=True)
class BM25Hard(MinedHard):
    """Mined hard negatives, retrieved by BM25 over words (Chinese: over pairs of characters).

    ``L_i = -log( exp(s c_ip) / sum_j exp(s c_ij) )`` as in :class:`strategies.mined_hard.MinedHard`. The
    default range starts at the highest rank, because BM25 ranks fewer unlabelled answers there than a dense
    encoder.

    Source: DPR (Karpukhin et al. 2020), which adds one BM25 negative to the in-batch ones and gains up to 5
    points of top-20 accuracy on Natural Questions; a second one adds nothing there.

    Published with: one negative of the top 100, batches of 128, learning rate 1e-5, dot products of vectors that are
    not normalised. The scale is therefore that of ``mined_hard``.
    """

    n: int = knob(1, low=1, high=7, log=True, least=1, source="DPR: one BM25 negative")
    by: str = knob("bm25", choices=("bm25",), source="DPR")
    first: int = knob(0, low=0, high=50, least=0, source="DPR: the highest without the answer")
    last: int = knob(100, low=60, high=500, log=True, least=1, source="DPR: the top 100")
