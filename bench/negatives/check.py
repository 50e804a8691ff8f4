"""Checking, before anything is encoded, that the data set has what a strategy needs."""

from __future__ import annotations

from functools import singledispatch

import numpy as np

from bench.data.dataset import DataSet
from bench.data.labels import class_names, class_numbers, graded
from bench.errors import UserError
from strategies import Strategy
from strategies.batches import Clustered, Grouped, Shuffled
from strategies.examples import BothWays, ClassifiedPairs, Examples, LabelledPairs, ScoredPairs, TaskPairs, TwoViews
from strategies.negatives import Guide, InBatch, Mined, NoNegatives, Provided, RandomGlobal


def check(strategy: Strategy, data: DataSet) -> None:
    """Raise :class:`UserError` when ``data`` lacks what a stage of ``strategy`` needs."""
    for stage in strategy.stages():
        try:
            _check(stage.examples, data)
            _check(stage.negatives, data)
            _check(stage.batches, data)
            _check(stage.guide, data)
        except UserError as error:
            raise UserError(f"strategy {stage.name}: {error}") from None


@singledispatch
def _check(declaration: object, data: DataSet) -> None:
    raise TypeError(f"{type(declaration).__name__} cannot be checked")


@_check.register(NoNegatives)
@_check.register(InBatch)
@_check.register(Shuffled)
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
            f"data set {data.name} provides no negatives; add a third column to the rows of train, called negative "
            "where the columns have names, or contradictions to an inference set"
        )


@_check.register
def _two_views(declaration: TwoViews, data: DataSet) -> None:
    if declaration.texts == "unlabelled" and len(data.unlabelled) < 2:
        raise UserError(
            f"data set {data.name} has no unlabelled texts; texts=corpus uses its passages instead "
            "(strategy.texts, or strategy.STAGE.texts in a chain)"
        )


@_check.register(LabelledPairs)
@_check.register(BothWays)
def _pairs(declaration: Examples, data: DataSet) -> None:
    if "train" in data.splits:
        return
    if data.tasks:
        raise UserError(f"data set {data.name} {_what_labelled_pairs_allow(data)}")
    raise UserError(f"data set {data.name} has no train split; train.max_steps=0 evaluates the encoder untrained")


def _what_labelled_pairs_allow(data: DataSet) -> str:
    """What can be done with pairs that have scores or classes where pairs of a query and a passage are needed."""
    allow = "choose a strategy whose examples are ScoredPairs or ClassifiedPairs (bench list)"
    if not data.text_pairs("train"):
        splits = " and ".join(dict.fromkeys(split for of_task in data.tasks.values() for split in of_task))
        allow = (
            f"they are of {splits}. train.max_steps=0 evaluates the encoder untrained. To train on their scores or "
            "classes, with cosent for one, put them into a directory as the file train"
        )
    return (
        f"has pairs with a score or a class, but none of a query and a passage to train on; {allow}. To read each row "
        "as a query and its passage, name their columns and no label, such as \"data.columns='query:1,positive:2'\""
    )


@_check.register
def _task_pairs(declaration: TaskPairs, data: DataSet) -> None:
    if not data.text_pairs("train"):
        raise UserError(f"data set {data.name} has no training pairs of a similarity task or an inference set")


@_check.register
def _scored(declaration: ScoredPairs, data: DataSet) -> None:
    tasks = graded(data)
    if not tasks:
        raise UserError(
            f"data set {data.name} has no training pairs with scores; give a similarity data set with a train split "
            "(sentence 1, sentence 2, score), or an inference set"
        )
    for name, pairs in tasks.items():
        if len(np.unique(pairs.label)) < 2:
            raise UserError(
                f"task {name}: all training pairs have the score {pairs.label[0]:g}; their order is learnt from "
                "different scores"
            )


@_check.register
def _classified(declaration: ClassifiedPairs, data: DataSet) -> None:
    tasks = data.classified("train").values()
    if not tasks:
        raise UserError(
            f"data set {data.name} has no training pairs with classes; give an inference set with a train split "
            "(premise, hypothesis, label)"
        )
    names = class_names(tasks)
    there = np.unique(np.concatenate([class_numbers(pairs, names) for pairs in tasks]))
    if len(there) < 2:
        raise UserError(f"data set {data.name}: all training pairs have the class {names[there[0]]}; two are needed")
    if len(names) > declaration.classes:
        raise UserError(
            f"data set {data.name} has {len(names)} classes ({', '.join(names)}), more than classes="
            f"{declaration.classes}; set strategy.classes={len(names)} (in a chain, strategy.STAGE.classes)"
        )


@_check.register
def _clustered(declaration: Clustered, data: DataSet) -> None:
    pairs = len(data.splits["train"].relevant.values) if "train" in data.splits else 0
    if declaration.clusters > pairs:
        raise UserError(f"{pairs} training pairs of {data.name} cannot be put into {declaration.clusters} clusters")


@_check.register
def _grouped(declaration: Grouped, data: DataSet) -> None:
    if "train" not in data.splits or data.splits["train"].groups is None:
        raise UserError(
            f"data set {data.name} has no groups; name the column of train that has them, such as "
            "\"data.columns='group:source'\""
        )


@_check.register
def _guide(declaration: Guide, data: DataSet) -> None:
    if declaration.by != "data":
        return
    train = data.splits.get("train")
    if train is None or train.positive_scores is None or train.negative_scores is None:
        raise UserError(f"data set {data.name} has no scores; add `pos_scores` and `neg_scores` in FlagEmbedding jsonl")
