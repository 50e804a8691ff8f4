"""Implementation of a strategy's declarations: sampling, mining, batches, guides, and checks of the data."""

from bench.negatives import pool_sampler, random_sampler, replacing_sampler  # they register themselves
from bench.negatives.batches import clusters_of
from bench.negatives.check import check
from bench.negatives.config import MiningConfig
from bench.negatives.context import NegativesContext
from bench.negatives.guide import Side, View, view
from bench.negatives.sampler import Drawn, NegativeSampler, negative_sampler

__all__ = [
    "Drawn",
    "MiningConfig",
    "NegativeSampler",
    "NegativesContext",
    "Side",
    "View",
    "check",
    "clusters_of",
    "negative_sampler",
    "pool_sampler",
    "random_sampler",
    "replacing_sampler",
    "view",
]
