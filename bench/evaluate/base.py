"""The contract of an evaluation: which texts it encodes, what it measures, and its subset for use in training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from bench.data.dataset import DataSet, Floats, Ids
from bench.evaluate.config import EvalConfig
from bench.record.schema import EvaluationSchema


@dataclass(frozen=True)
class Measured:
    """The result of an evaluation.

    ``metrics`` are percentages by name. ``items`` has one row an item (of retrieval: a query), its id in the column
    that the schema names, and every metric's value of it under its name. ``cost`` is that of the phases of measuring,
    by the names of the record's cost; encoding is not among them. ``hardest`` are the items that went worst, as JSON
    values, worst first. ``counts`` are numbers of items: all of them, and those with a peculiarity that a reader of the
    metrics should know. ``geometry`` describes the vectors, see :mod:`bench.evaluate.geometry`. ``warnings`` are
    sentences for that reader.
    """

    metrics: Mapping[str, float]
    items: pd.DataFrame
    cost: Mapping[str, float] = field(default_factory=dict)
    hardest: Sequence[Mapping[str, Any]] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    geometry: Mapping[str, float] = field(default_factory=dict)
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class Rows:
    """The texts of a data set that an evaluation needs: ids of ``queries`` and of ``passages``, in order.

    Of similarity, ``queries`` are the texts of all ``tasks``, one task after the other.
    """

    queries: Ids
    passages: Ids
    tasks: Mapping[str, Ids] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.queries) + len(self.passages)


class Evaluation(ABC):
    """One kind of evaluation. The constructor raises :class:`UserError` for what cannot be measured."""

    schema: ClassVar[EvaluationSchema]

    @classmethod
    @abstractmethod
    def splits(cls, data: DataSet) -> Collection[str]:
        """The splits of a data set that can be measured."""

    @classmethod
    @abstractmethod
    def selected_by(cls, config: EvalConfig) -> str:
        """The metric on dev that selects the best weights during training, and the best settings of a study."""

    @property
    @abstractmethod
    def key(self) -> Any:
        """Everything that a measurement depends on beside the data's content and the vectors, as JSON values."""

    @abstractmethod
    def texts(self) -> Rows:
        """The texts to encode."""

    @abstractmethod
    def measure(self, queries: Floats, passages: Floats) -> Measured:
        """Measure the unit vectors of :meth:`texts`, [n, d] each."""

    @abstractmethod
    def subset(self, queries: int, passages: int) -> Evaluation:
        """A cheaper evaluation of the same kind over fewer texts, for repeated use during training."""

    def worst_table(self, measured: Measured) -> pd.DataFrame:
        """The hardest items as a flat table, for a tracker."""
        return pd.DataFrame(list(measured.hardest))

    @abstractmethod
    def write_files(self, measured: Measured, directory: Path) -> None:
        """Write the further files that the settings request."""
