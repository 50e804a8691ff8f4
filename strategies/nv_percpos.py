"""Positive-aware mining: the highest passages that stay well below the positive."""

from __future__ import annotations

from dataclasses import dataclass

from strategies.base import knob, register
from strategies.mined_hard import MinedHard


@register("nv_percpos")
@dataclass(frozen=True)
class NVPercPos(MinedHard):
    """Mined hard negatives: the highest-ranked passages whose score is at most 95 % of the positive's.

    ``L_i = -log( exp(s c_ip) / sum_j exp(s c_ij) )`` as in :class:`strategies.mined_hard.MinedHard`. A passage ``j``
    is eligible if ``m_ij <= m_ip - r |m_ip|`` with the miner's scores ``m`` and ``r`` the ``relative_margin``; the
    ``n`` highest of the first ``last`` ranks are taken. No rank is skipped, as the threshold does what ``first`` is
    for. Passages that rank nearer to the positive, which may be unlabelled answers, are left out.

    Source: NV-Retriever (Moreira et al. 2024), TopK-PercPos. Its TopK-MarginPos keeps a distance of 0.05 instead:
    ``strategy.relative_margin=null strategy.absolute_margin=0.05``.

    Published with: 95 % of the positive's score; the miner is a stronger encoder (``by``). Their number, the ranks and
    the scale are not NV-Retriever's but those of :class:`strategies.mined_hard.MinedHard`.
    """

    first: int = knob(0, low=0, high=50, least=0, source="NV-Retriever: from the highest rank")
    relative_margin: float | None = knob(0.05, low=0.0, high=0.3, least=0, source="NV-Retriever TopK-PercPos: 95 %")
    choice: str = knob("top", choices=("random", "top"), source="NV-Retriever: top k")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.absolute_margin is None and self.relative_margin is None:
            raise ValueError(
                f"strategy.relative_margin=null and strategy.absolute_margin=null leave {self.name} no threshold; "
                "set one of them, or use mined_hard with strategy.choice=top strategy.first=0"
            )
