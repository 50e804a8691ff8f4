"""Checking, before anything is encoded, that the data set has what a strategy needs."""

from __future__ import annotations

from functools import singledispatch

from bench.data.dataset import DataSet
from bench.errors import UserError
from strategies import Strategy
from strategies.examples import Examples, TwoViews
from strategies.negatives import Guide, InBatch, Mined, Provided, RandomGlobal


def check(strategy: Strategy, data: DataSet) -> None:
    """Raise :class:`UserError` when ``data`` lacks what a stage of ``strategy`` needs."""
    for stage in strategy.stages():
        try:
            _check(stage.negatives, data)
            _check(stage.examples, data)
            _check(stage.guide, data)
        except UserError as error:
            raise UserError(f"strategy {stage.name}: {error}") from None


@singledispatch
def _check(declaration: object, data: DataSet) -> None:
    raise TypeError(f"{type(declaration).__name__} cannot be checked")


@_check.register(InBatch)
@_check.register(Examples)
@_check.register(type(None))
def _nothing(declaration: object, data: DataSet) -> None:
    pass


@_check.register
def _random(declaration: RandomGlobal, data: DataSet) -> None:
    size = len(data.passages)
    if declaration.pool is not None:
        _fits(f"{declaration.pool} passages of a pool", declaration.pool, data)
        if declaration.n > declaration.pool:
            raise UserError(f"{declaration.n} negatives cannot be drawn from a pool of {declaration.pool}")
    if declaration.n >= size:
        _fits(f"{declaration.n} negatives", declaration.n + 1, data)


def _fits(what: str, needed: int, data: DataSet) -> None:
    if needed > len(data.passages):
        raise UserError(f"{what} are more than the {len(data.passages)} passages of {data.name} allow")


@_check.register
def _mined(declaration: Mined, data: DataSet) -> None:
    labelled = int(data.splits["train"].relevant.lengths.max(initial=0)) if "train" in data.splits else 0
    there = len(data.passages) - labelled
    if declaration.last > there:
        raise UserError(
            f"ranks up to {declaration.last} are needed, but {data.name} has {len(data.passages)} passages, "
            f"up to {labelled} of them relevant to one query, so there are {there} ranks; set strategy.last to at "
            f"most {there}"
        )


@_check.register
def _provided(declaration: Provided, data: DataSet) -> None:
    train = data.splits.get("train")
    if train is None or train.negatives is None or not len(train.negatives.values):
        raise UserError(
            f"data set {data.name} provides no negatives; add a third column to the "
            "rows of train, called negative where the columns have names"
        )


@_check.register
def _two_views(declaration: TwoViews, data: DataSet) -> None:
    if declaration.texts == "unlabelled" and len(data.unlabelled) < 2:
        raise UserError(
            f"data set {data.name} has no unlabelled texts; texts=corpus uses its passages instead "
            "(strategy.texts, or strategy.simcse.texts in a chain)"
        )


@_check.register
def _guide(declaration: Guide, data: DataSet) -> None:
    if declaration.by != "data":
        return
    train = data.splits.get("train")
    if train is None or train.positive_scores is None or train.negative_scores is None:
        raise UserError(f"data set {data.name} has no scores; add `pos_scores` and `neg_scores` in FlagEmbedding jsonl")
