"""Evaluation of an encoder. One contract (:mod:`bench.evaluate.base`), one file for each kind of evaluation."""

from bench.data.dataset import DataSet
from bench.evaluate.base import Evaluation, Measured
from bench.evaluate.config import EvalConfig
from bench.evaluate.retrieval import Retrieval, evaluate
from bench.evaluate.similarity import Similarity


def evaluation_kind(data: DataSet) -> type[Retrieval] | type[Similarity]:
    """How an encoder is measured on a data set: by similarity where it has pairs with scores, else by retrieval."""
    return Similarity if data.scored_tasks else Retrieval


__all__ = ["EvalConfig", "Evaluation", "Measured", "Retrieval", "Similarity", "evaluate", "evaluation_kind"]
