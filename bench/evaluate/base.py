"""The contract of an evaluation: what is encoded, what is measured, and how a part of it is evaluated in training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from bench.data.dataset import Floats, Ids
from bench.record.schema import EvaluationSchema


@dataclass(frozen=True)
class Measured:
    """What an evaluation found.

    ``metrics`` are percentages by name. ``items`` has one row an item (of retrieval: a query), its id in the column
    that the schema names, and every metric's value of it under its name. ``seconds`` are what the parts of measuring
    took, by the names that the record's cost has; encoding is not among them. ``hardest`` are the items that went
    worst, as JSON values, worst first.
    """

    metrics: Mapping[str, float]
    items: pd.DataFrame
    seconds: Mapping[str, float] = field(default_factory=dict)
    hardest: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Rows:
    """Which texts of a data set an evaluation needs: ids of ``queries`` and of ``passages``, in the order it wants."""

    queries: Ids
    passages: Ids

    def __len__(self) -> int:
        return len(self.queries) + len(self.passages)


class Evaluation(ABC):
    """One way to say how good an encoder is. Making one refuses, with :class:`UserError`, what cannot be measured."""

    schema: ClassVar[EvaluationSchema]

    @property
    @abstractmethod
    def selection(self) -> str:
        """The metric that decides, while training, which weights are kept."""

    @property
    @abstractmethod
    def key(self) -> Any:
        """All that a measurement follows from beside the data's content and the vectors, as JSON values."""

    @abstractmethod
    def texts(self) -> Rows:
        """The texts to encode."""

    @abstractmethod
    def measure(self, queries: Floats, passages: Floats) -> Measured:
        """What the unit vectors of :meth:`texts`, [n, d] each, are worth."""

    @abstractmethod
    def subset(self, queries: int, passages: int) -> Evaluation:
        """A cheaper evaluation of the same kind over fewer texts, to be done again and again while training."""

    def worst_table(self, measured: Measured) -> pd.DataFrame:
        """The hardest items as a flat table, for a tracker."""
        return pd.DataFrame(list(measured.hardest))

    @abstractmethod
    def write_files(self, measured: Measured, directory: Path) -> None:
        """Write what the settings ask for beside the record."""
