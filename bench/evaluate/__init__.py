"""How good is an encoder? One contract (:mod:`bench.evaluate.base`), one file for each kind of evaluation."""

from bench.evaluate.base import Evaluation, Measured
from bench.evaluate.config import EvalConfig
from bench.evaluate.retrieval import Retrieval, evaluate

__all__ = ["EvalConfig", "Evaluation", "Measured", "Retrieval", "evaluate"]
