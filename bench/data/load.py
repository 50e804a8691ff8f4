"""Loading the data set of a configuration."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bench.data.columns import parse
from bench.data.dataset import DataSet
from bench.data.formats.base import Reading
from bench.data.generated import with_generated
from bench.data.presets import DataSource, find_source
from bench.data.subset import subset
from bench.data.verdicts import with_verdicts
from bench.errors import UserError, at_least
from bench.setting import Name, place_named


@dataclass(frozen=True)
class DataConfig:
    """Which data set, and how much of it.

    ``name`` is a preset, a directory, a file or ``hf:OWNER/NAME``; ``path`` is the directory of a preset that needs
    one. ``skip_broken`` leaves out, and counts, rows that cannot be used and are otherwise an error. ``columns`` says
    which columns hold what, where their names do not: ``query:question,positive:answer``, or by position, ``query:2``.
    ``max_train`` (pairs) and ``max_corpus`` (passages) limit it for quick runs, see :func:`bench.data.subset.subset`.
    ``generated`` is a file of ``bench generate --out``; up to ``generated_per_query`` texts of each training query in
    it (None: all) are trained on as well, see :func:`bench.data.generated.with_generated`. ``judged`` is a file that
    relabels, drops and keeps training negatives, see :func:`bench.data.verdicts.with_verdicts`.
    """

    name: Name = "docstrings"
    path: str | None = None
    skip_broken: bool = False
    columns: str | None = None
    max_train: int | None = None
    max_corpus: int | None = None
    generated: str | None = None
    generated_per_query: int | None = None
    judged: str | None = None

    def __post_init__(self) -> None:
        if self.generated_per_query is not None:
            at_least("data.generated_per_query", self.generated_per_query, 0)
            if self.generated is None:
                raise UserError(
                    f"data.generated_per_query={self.generated_per_query} needs data.generated=FILE, which "
                    "bench generate --out writes"
                )


def source(config: DataConfig) -> DataSource:
    """The source of a configuration, found and not yet read. Raises :class:`UserError` when it is not there."""
    return find_source(config.name, config.path, Reading(config.skip_broken, parse(config.columns)))


def load(config: DataConfig) -> DataSet:
    """The limited data set; its fingerprint is that of the limited content.

    Raises :class:`UserError` when it is not found and :class:`DataError` when it is broken.
    """
    found = source(config)
    data = subset(replace(found.read(), name=found.name), config.max_train, config.max_corpus)
    if config.judged is not None:
        data = with_verdicts(data, place_named(config.judged))
    if config.generated is None:
        return data
    return with_generated(data, place_named(config.generated), config.generated_per_query)
