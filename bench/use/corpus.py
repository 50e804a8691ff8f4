"""A run's corpus, embedded and indexed once, and searched by its encoder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from bench.cache import Cache, Entry
from bench.data.dataset import DataSet, Floats
from bench.data.load import DataConfig, load
from bench.errors import UserError
from bench.model.embedding import weights_digest
from bench.model.encoder import Encoder
from bench.progress import Display
from bench.record.record import Record
from bench.record.serialize import canonical
from bench.record.store import RunDirectory
from bench.run.lifecycle import measured_on
from bench.search import Index, IndexConfig, build
from bench.search import load as load_index
from bench.use.embedder import Embedder

REVISION = 2  # of what is kept
FOLDER = "index"  # of a run
Load = Callable[[], DataSet]


@dataclass(frozen=True)
class Hit:
    """A passage that was found: its ``rank`` from 1, the source's ``id``, its ``text``, and its ``score`` (cosine)."""

    rank: int
    id: str
    text: str
    score: float


class Known(NamedTuple):
    """A query of the data set: its id, the ids of the passages that are relevant to it, and whether it is a test's."""

    id: str
    relevant: Sequence[str]
    tested: bool


Queries = Mapping[str, Known]
"""The known queries of a data set by their text."""


@dataclass(frozen=True)
class Corpus:
    """An indexed corpus and the encoder that searches it.

    ``ids`` and ``texts`` are those of the passages, ``vectors`` [P, d] theirs. ``queries`` are the known queries of the
    data set by text.
    """

    embedder: Embedder
    ids: Sequence[str]
    texts: Sequence[str]
    vectors: Floats
    index: Index
    queries: Queries

    @classmethod
    def of_run(cls, run: RunDirectory, embedder: Embedder, display: Display, most: int) -> Corpus:
        """The corpus of a run's data, with the index of its record, kept in ``index/`` of the run.

        An ``ef`` under ``most`` is raised to it. Raises :class:`UserError` when the data is not there any more, when it
        has changed, and when it has no corpus.
        """
        record = run.read_record()
        fingerprint, config = record.data["fingerprint"], index_of(record, most)

        def data() -> DataSet:
            return data_of(record, "; give its corpus as --data DATA")

        return cls.of(run.path / FOLDER, data, fingerprint, config, embedder, display)

    @classmethod
    def of(
        cls, place: Path, data: Load, fingerprint: str, config: IndexConfig, embedder: Embedder, display: Display
    ) -> Corpus:
        """The corpus of ``data``, which is loaded only where no index of it lies in ``place``.

        An index serves any ``ef``, which belongs to a search.
        """
        facts = _facts(embedder.encoder, embedder.precision, fingerprint)
        name = f"index-{_hash([*facts, {**asdict(config), 'threads': 0, 'ef': 0}])}"
        entry = Cache(place, required=True).entry(name, lambda folder: _make(folder, data(), config, embedder, display))
        return cls(embedder, *_read(entry, config))

    def __len__(self) -> int:
        """The number of passages."""
        return len(self.texts)

    def search(self, texts: Sequence[str], k: int) -> list[list[Hit]]:
        """The ``k`` best passages of each query, best first; all passages where there are fewer.

        Raises :class:`UserError` for an empty query.
        """
        return self.nearest(self.embedder.vectors(texts, "query"), k)

    def nearest(self, vectors: Floats, k: int) -> list[list[Hit]]:
        """The same for queries whose vectors [Q, d] are there."""
        scores, places = self.index.search(vectors, min(k, len(self.texts)))
        return [
            [
                Hit(rank, self.ids[place], self.texts[place], float(score))
                for rank, (score, place) in enumerate(zip(row, found, strict=True), start=1)
            ]
            for row, found in zip(scores.tolist(), places.tolist(), strict=True)
        ]

    @cached_property
    def by_id(self) -> Mapping[str, int]:
        """The place of each passage by its id."""
        return {name: place for place, name in enumerate(self.ids)}


def data_of(record: Record, otherwise: str = "") -> DataSet:
    """The data that a run was measured on.

    Raises :class:`UserError` when it is not there any more and when it has changed; ``otherwise`` ends that message.
    """
    found = measured_on(load(known(DataConfig, record.config["data"])), record.config["eval"].get("data"), load)
    if found.fingerprint != record.data["fingerprint"]:
        raise UserError(f"{found.name} has changed since {record.run_id} was trained{otherwise}")
    return found


def index_of(record: Record, most: int) -> IndexConfig:
    """The settings of a record's index; an ``ef`` under ``most`` is raised to it."""
    config: IndexConfig = known(IndexConfig, record.config["index"])
    return replace(config, ef=max(config.ef, most))


def origin(encoder: Encoder, precision: str, fingerprint: str) -> str:
    """A short hash of all that a corpus's vectors depend on: encoder, number format, and fingerprint of the data."""
    return _hash(_facts(encoder, precision, fingerprint))


def known_queries(run: RunDirectory) -> Queries:
    """The known queries of a run's corpus, as :class:`Corpus` has them; none where the run has no index yet."""
    kept = Cache(run.path / FOLDER)
    names = sorted(place.name for place in (run.path / FOLDER).glob("index-*"))
    return next((_queries(found) for name in names if (found := kept.find(name))), {})


def _facts(encoder: Encoder, precision: str, fingerprint: str) -> list[Any]:
    passage = encoder.config.passage
    return [
        REVISION,
        weights_digest(encoder),
        encoder.recipe,
        precision,
        fingerprint,
        passage.prefix,
        passage.tokens,
    ]


def _hash(facts: Any) -> str:
    return hashlib.sha256(canonical(facts).encode()).hexdigest()[:24]


def known(kind: type[Any], recorded: Mapping[str, Any]) -> Any:
    """The settings of a record as ``kind`` has them; those that it does not know have no use here."""
    names = {f.name for f in fields(kind)}
    return kind(**{key: value for key, value in recorded.items() if key in names})


def _make(folder: Path, data: DataSet, config: IndexConfig, embedder: Embedder, display: Display) -> dict[str, Any]:
    count = data.corpus_size
    if not count:
        raise UserError(f"data set {data.name} has no corpus to search; give one as --data DATA")
    with display.task("embedding the corpus", count) as advance:
        vectors = embedder.vectors(data.passages[:count], "passage", advance)
    np.save(folder / "vectors.npy", vectors)
    with display.task("building the index"):
        build(vectors, config, seed=0).save(folder / "graph")
    ids = [*map(data.passage_name, range(count))]
    parquet.write_table(pa.table({"id": ids, "text": list(data.passages[:count])}), folder / "passages.parquet")
    asked: dict[int, list[str]] = {q: [] for split in data.splits.values() for q in split.queries.tolist()}
    for split in data.splits.values():
        for row, query in enumerate(split.queries.tolist()):
            asked[query] += [data.passage_name(p) for p in split.relevant[row].tolist() if p < count]
    tested = set(data.splits["test"].queries.tolist()) if "test" in data.splits else set()
    queries = {
        "id": [data.query_name(q) for q in asked],
        "text": [data.queries[q] for q in asked],
        "relevant": list(asked.values()),
        "tested": [q in tested for q in asked],
    }
    parquet.write_table(pa.table(queries), folder / "queries.parquet")
    return {"data": data.name, "passages": count, "engine": config.engine}


def _read(entry: Entry, config: IndexConfig) -> tuple[Sequence[str], Sequence[str], Floats, Index, Queries]:
    passages = parquet.read_table(entry.path / "passages.parquet")
    vectors = entry.array("vectors")
    index = load_index(entry.path / "graph", vectors, config)
    return passages["id"].to_pylist(), passages["text"].to_pylist(), vectors, index, _queries(entry)


def _queries(entry: Entry) -> Queries:
    found = parquet.read_table(entry.path / "queries.parquet").to_pydict()
    columns = (found[name] for name in ("id", "relevant", "tested"))
    return dict(zip(found["text"], map(Known, *columns), strict=True))
