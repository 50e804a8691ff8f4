"""The record of one run: its metrics, its cost, and everything needed to repeat it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from datetime import UTC, datetime
from functools import cache, cached_property
from pathlib import Path, PurePath
from typing import Any, Literal, get_type_hints

from bench.errors import UserError
from bench.record.identity import setting
from bench.record.plausible import implausible
from bench.record.schema import SCHEMAS, EvaluationSchema
from bench.record.serialize import serialize
from bench.record.shape import misfit, told, unusual

SCHEMA = 1

Metrics = Mapping[str, float | None]


class RecordError(UserError):
    """A record that cannot be read; the message names the file and the field."""


@dataclass(frozen=True)
class Record:
    """One run, as ``record.json`` holds it.

    ``metrics`` are percentages by name: ``recall@1`` is the index's on ``split``, ``exact/recall@1``
    exact search's, ``dev_hard/recall@1`` a part's. ``baseline_metrics`` are the same of the encoder before
    training. A metric that could not be computed is None, never NaN.

    ``cost`` holds ``train_s``, ``encode_s``, ``index_s``, ``search_s``, ``mine_s`` (seconds),
    ``pairs_per_s``, ``texts_per_s``, ``peak_memory_mb`` and ``texts_encoded``. ``data`` holds ``name``,
    ``fingerprint``, ``counts``, ``notices`` (what reading joined or left out, by kind) and ``seen_queries`` (measured
    queries that are train queries too); ``selection`` the step that was kept and the metric that chose it;
    ``training`` the ``telemetry`` of the run's batches (the mean of each scalar of
    :func:`bench.train.telemetry.measure` over all steps, by stage where there are several) and ``warnings``;
    ``config`` the whole resolved configuration; ``command`` the shortest command that repeats the run;
    ``started`` and ``finished`` are UTC, ISO 8601; ``error`` says why a run failed; ``evaluation`` names the kind of
    evaluation, see :mod:`bench.record.schema`. ``items`` counts what was measured: ``items`` in all (of retrieval:
    queries), and those for which a tie of scores decides the rank (``tied`` by the index, ``exact/tied``).
    ``geometry`` describes the vectors of the corpus: ``mean_norm``, ``hubness@10`` (skewness of how often a passage is
    among the first ten), and ``index_loss@K`` (points of recall). ``invalid`` says why no comparison includes a
    finished run: what its strategy declares never acted. It is None where that acted, and in records from before this
    field.

    Raises ``ValueError`` naming the field whose value is of the wrong kind, or one that no run can have.
    """

    run_id: str
    strategy: str
    knobs: Mapping[str, Any]
    data: Mapping[str, Any]
    encoder: Mapping[str, Any]
    seed: int
    status: Literal["running", "finished", "failed", "pruned"]
    command: str
    config: Mapping[str, Any]
    split: str
    started: str
    finished: str | None = None
    metrics: Metrics = field(default_factory=dict)
    baseline_metrics: Metrics | None = None
    cost: Metrics = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    selection: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    evaluation: str = "retrieval"
    items: Mapping[str, int] = field(default_factory=dict)
    geometry: Metrics = field(default_factory=dict)
    invalid: str | None = None
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        wrong = (misfit(getattr(self, name), kind, name) for name, kind in _kinds().items())
        if why := next(filter(None, wrong), None) or implausible(vars(self)):
            raise ValueError(why)

    @cached_property
    def setting(self) -> dict[str, Any]:
        """The settings that runs of different seeds share: ``{"train.epochs": 1, "strategy.margin": ...}``."""
        return setting(self.config)

    @property
    def engine(self) -> str:
        """The engine of search that the plain metrics are of; hnswlib where the record is older than the choice."""
        return str(self.setting["index.engine"])

    @property
    def encoder_name(self) -> str:
        """The name of the encoder, without the path of its directory; empty in a record that has none."""
        return PurePath(str(self.encoder.get("name", ""))).name

    @property
    def evaluation_schema(self) -> EvaluationSchema:
        """The names of the record's metrics and per-item values, and how tables show them."""
        return SCHEMAS[self.evaluation]

    def to_json(self) -> str:
        """The text of ``record.json``."""
        return json.dumps(serialize(asdict(self)), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, path: Path) -> Record:
        """Read a record; ``path`` is for the error. Raises :class:`RecordError` naming file and field."""
        try:
            tree = json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            raise RecordError(f"{path}: broken or half-written record: {error}") from error
        if not isinstance(tree, dict):
            raise RecordError(f"{path}: a record is a JSON object, not {type(tree).__name__}")
        if why := unusual(tree):
            raise RecordError(f"{path}: {why}")
        if tree.get("schema") != SCHEMA:
            raise RecordError(f"{path}: schema={told(tree.get('schema'))}, this version reads schema={SCHEMA}")
        needed = {f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING}
        if missing := sorted(needed - tree.keys()):
            raise RecordError(f"{path}: {', '.join(missing)} missing")
        if unknown := sorted(tree.keys() - _kinds().keys()):
            raise RecordError(f"{path}: unknown field {told(', '.join(unknown))[1:-1]}")
        try:
            return cls(**tree)
        except ValueError as error:
            raise RecordError(f"{path}: {error}") from error


def now() -> str:
    """The time in UTC, ISO 8601, for ``started`` and ``finished``."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


@cache
def _kinds() -> dict[str, Any]:
    return get_type_hints(Record)
