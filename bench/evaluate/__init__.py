"""Evaluation of an encoder. One contract (:mod:`bench.evaluate.base`), one file for each kind of evaluation."""

from bench.data.dataset import DataSet
from bench.evaluate.base import Evaluation, Measured
from bench.evaluate.config import EvalConfig
from bench.evaluate.retrieval import Retrieval, evaluate


def evaluation_kind(data: DataSet) -> type[Retrieval]:
    """How an encoder is measured on a data set: what has queries and passages, by retrieval."""
    return Retrieval


__all__ = ["EvalConfig", "Evaluation", "Measured", "Retrieval", "evaluate", "evaluation_kind"]
