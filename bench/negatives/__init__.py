"""What carries out a strategy's declarations: sampling, mining, guides, and refusing what cannot be had."""

from bench.negatives import mined, sampling  # they register themselves
from bench.negatives.check import check
from bench.negatives.guide import View, view
from bench.negatives.setting import Cost, MiningConfig, Reader, Setting
from bench.negatives.source import Drawn, Source, source

__all__ = [
    "Cost",
    "Drawn",
    "MiningConfig",
    "Reader",
    "Setting",
    "Source",
    "View",
    "check",
    "mined",
    "sampling",
    "source",
    "view",
]
