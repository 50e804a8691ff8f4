"""Why a result says less than it seems to."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bench.config.run import RunConfig
from bench.data.dataset import DataSet
from bench.evaluate import Retrieval, evaluation_kind
from bench.train.config import TrainConfig
from strategies.examples import LabelledPairs

MUCH = 0.5  # share of the texts encoded from which mining leaves little to train with
FEW = 50  # queries of a split below which its metrics are mostly chance


def seen_queries(data: DataSet, split: str) -> int:
    """How many measured queries, those of ``split``, are also train queries; 0 where pairs with scores are measured."""
    if split == "train" or not {split, "train"} <= data.splits.keys() or evaluation_kind(data) is not Retrieval:
        return 0
    return len(np.intersect1d(data.splits[split].queries, data.splits["train"].queries))


def mostly_mining(config: RunConfig, steps: int, texts: int, mined: int) -> Iterator[str]:
    """A sentence where most of a budget of texts was for mining; ``texts`` are those of training."""
    share = mined / max(1, texts + mined)
    if config.budget.texts and share >= MUCH:
        yield f"mining took {100 * share:.0f} % of the texts encoded; steps of training that were left: {steps:,}"


def doubts(data: DataSet, split: str, seen: int, config: RunConfig) -> Iterator[str]:
    """A sentence for each reason that the data and the settings give.

    ``seen`` of the queries of ``split``, which are measured, are trained on; few queries measure or select badly; and
    settings of training have no effect.
    """
    train = config.train
    if train.trains:
        yield from _without_effect(config, data.counts.get("train_pairs"))
    if evaluation_kind(data) is not Retrieval:
        return
    if train.trains and seen:
        yield (
            f"{seen:,} of {len(data.splits[split]):,} {split} queries are also train queries: on these the metrics "
            "measure memory; split by query"
        )
    named = [(split, len(data.splits[split]), "its metrics vary much by chance")]
    often = bool(train.eval_every) or (train.eval_every is None and (train.epochs > 1 or config.budget.declared))
    if train.trains and often and split != "dev" and "dev" in data.splits:
        named.append(
            ("dev", min(len(data.splits["dev"]), train.eval_queries), "which weights it selects is partly chance")
        )
    for name, queries, what in named:
        if queries < FEW:
            yield f"{name} has only {queries} {'query' if queries == 1 else 'queries'}, so {what}"


def _without_effect(config: RunConfig, pairs: int | None) -> Iterator[str]:
    """Settings of training that have no effect on ``pairs``."""
    train = config.train
    labelled = any(isinstance(stage.examples, LabelledPairs) for stage in config.strategy.stages())
    if labelled and pairs and pairs < train.batch_size:
        yield f"train.batch_size={train.batch_size} is more than all {pairs} pairs: a step has {pairs}"
    if train.epochs != TrainConfig.epochs and (config.budget.declared or train.stage_steps):
        ends = "the budget ends" if config.budget.declared else "train.stage_steps end"
        yield f"train.epochs={train.epochs} has no effect: {ends} training"
