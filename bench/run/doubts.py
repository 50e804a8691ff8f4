"""Why a result says less than it seems to."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bench.config.run import RunConfig
from bench.data.dataset import DataSet

MUCH = 0.5  # share of the texts encoded from which mining leaves little to train with
FEW = 50  # queries of a split below which its metrics are mostly chance


def seen_queries(data: DataSet, split: str) -> int:
    """How many queries of ``split`` are also train queries; 0 for data without queries."""
    if split == "train" or not {split, "train"} <= data.splits.keys():
        return 0
    return len(np.intersect1d(data.splits[split].queries, data.splits["train"].queries))


def mostly_mining(steps: int, texts: int, mined: int) -> Iterator[str]:
    """A sentence where most of the texts that a run encoded were for mining; ``texts`` are those of training."""
    share = mined / max(1, texts + mined)
    if share >= MUCH:
        yield f"mining took {100 * share:.0f} % of the texts encoded; steps of training that were left: {steps:,}"


def doubts(data: DataSet, split: str, config: RunConfig) -> Iterator[str]:
    """A sentence for each: measured queries that are trained on, and too few queries to measure or to select by."""
    if config.train.trains and (seen := seen_queries(data, split)):
        yield (
            f"{seen:,} of {len(data.splits[split]):,} {split} queries are also train queries: on these the metrics "
            "measure memory; split by query"
        )
    selects = config.train.trains and config.train.eval_every != 0 and split != "dev"
    named = ((split, "its metrics vary much by chance"), ("dev", "which weights it selects is partly chance"))
    for name, what in named if selects else named[:1]:
        if name in data.splits and (queries := len(data.splits[name])) < FEW:
            yield f"{name} has only {queries} {'query' if queries == 1 else 'queries'}, so {what}"
