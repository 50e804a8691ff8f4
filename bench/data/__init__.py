"""Data sets: reading them strictly, the embedded default set, limits, and the token store."""

from bench.data.dataset import DataSet, Ragged, Split
from bench.data.inspect import Inspection, inspect, render
from bench.data.load import DataConfig, load
from bench.data.presets import PRESETS
from bench.data.tokens import Tokens, tokenize
from bench.data.validation import DataError

__all__ = [
    "PRESETS",
    "DataConfig",
    "DataError",
    "DataSet",
    "Inspection",
    "Ragged",
    "Split",
    "Tokens",
    "inspect",
    "load",
    "render",
    "tokenize",
]
