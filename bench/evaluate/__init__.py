"""How good is an encoder? Ranking metrics and the evaluation of vectors by retrieval."""

from bench.evaluate.bounded import bounded
from bench.evaluate.config import EvalConfig
from bench.evaluate.retrieval import Retrieval, evaluate

__all__ = ["EvalConfig", "Retrieval", "bounded", "evaluate"]
