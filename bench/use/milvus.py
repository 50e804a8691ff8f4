"""A collection of Milvus that holds the corpus of one run: written, and searched by vectors."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from time import monotonic, sleep
from typing import Any, NamedTuple

import numpy as np

from bench.data.dataset import Floats, Ids
from bench.errors import UserError, shown
from bench.progress import Display
from bench.search import IndexConfig
from bench.use.corpus import Corpus, Hit
from bench.use.milvus_client import SERVERS, in_one_line, package, uri_of

MOST_BYTES = 65_535  # of a VARCHAR of Milvus
BATCH = 500  # rows of a message, which a server takes up to 64 MB of
QUERIES = 32  # of a message; its answer has their texts
CONNECT_S = 5.0
CALL_S = 120.0
PATIENCE_S = 600.0  # without a further row in the index
POLL_S = 0.2
_PROPERTY = "negbench."


@dataclass(frozen=True)
class Source:
    """What a collection was written from: the ``run``, its ``data``, and the :func:`bench.use.corpus.origin` of the
    vectors."""

    run: str
    data: str
    origin: str


class Written(NamedTuple):
    """How many passages are ``new`` in a collection, were ``there``, and are ``cut`` to :data:`MOST_BYTES`."""

    new: int
    there: int
    cut: int


class MilvusStore:
    """The collection ``name`` at an address: ``milvus://FILE.db`` (milvus-lite) or ``http://HOST:PORT`` (a server).

    A row has a passage's ``id`` as its key, its unit ``vector``, its ``text``, and the dynamic fields ``run``, ``data``
    and ``place`` (in the corpus, from 0). Every method raises :class:`UserError` with what Milvus says.
    """

    def __init__(self, client: Any, address: str, name: str, file: Path | None) -> None:
        self.client, self.address, self.name, self.file = client, address, name, file
        self.place = f"collection {name} in {address}"

    @classmethod
    @contextmanager
    def open(cls, address: str, name: str, create: bool = False) -> Iterator[MilvusStore]:
        """Connect; with ``create``, a file that is not there is made.

        A server gets the token of the environment variable ``MILVUS_TOKEN``. Raises :class:`UserError` for an address
        of another form, a missing package, a file that is not there, and a server that does not answer in seconds.
        """
        uri = uri_of(address)
        file = None if uri.startswith(SERVERS) else Path(uri)
        milvus = package(lite=file is not None)
        if file is not None and create:
            file.parent.mkdir(parents=True, exist_ok=True)
        elif file is not None and not file.exists():
            raise UserError(f"{address}: there is no such file; bench index RUN --to {address} makes it")
        token = "" if file is not None else os.environ.get("MILVUS_TOKEN", "")
        try:
            client = milvus.MilvusClient(uri=uri, token=token, timeout=CONNECT_S)
        except (milvus.MilvusException, ValueError) as error:  # the latter of a port that is no number
            hint = "" if file is None else "; another process may have it open, or it is no file of milvus-lite"
            raise UserError(f"{address}: {in_one_line(error)}{hint}") from error
        try:
            yield cls(client, address, name, file)
        finally:
            client.close()
            if file is not None:
                from milvus_lite.server_manager import server_manager_instance

                server_manager_instance.release_server(uri)  # or the file stays locked while this process lives

    def source(self) -> Source | None:
        """What the collection was written from; None where there is no collection of this name.

        Raises :class:`UserError` when `bench index` has not made it.
        """
        with self._explained():
            if not self.client.has_collection(self.name, timeout=CALL_S):
                return None
            told: Mapping[str, str] = self.client.describe_collection(self.name, timeout=CALL_S)["properties"]
        found = {f.name: told.get(_PROPERTY + f.name) for f in fields(Source)}
        if None in found.values():
            raise UserError(f"{self.place} was not made by bench index; choose another --collection")
        return Source(**found)  # type: ignore[arg-type]

    def require(self, source: Source) -> None:
        """Load the collection for a search. Raises :class:`UserError` unless it was written from ``source``."""
        found = self.source()
        if found is None:
            with self._explained():
                names = ", ".join(sorted(self.client.list_collections(timeout=CALL_S))) or "none"
            raise UserError(f"{self.address} has no collection {shown(self.name)}; there are: {names}")
        self._compare(found, source)
        with self._explained():
            self.client.load_collection(self.name, timeout=CALL_S)

    def write(self, corpus: Corpus, source: Source, config: IndexConfig, display: Display) -> Written:
        """Write the passages that are not there, so that after a kill the same call ends with each exactly once.

        A text of more than :data:`MOST_BYTES` is cut there. Raises :class:`UserError` when the collection was written
        from another ``source``, or has rows that are no passages of the corpus.
        """
        found = self.source()
        if found is None:
            self._create(corpus.vectors.shape[1], source, config)
        else:
            self._compare(found, source)
        with self._explained():
            if not self.client.list_indexes(self.name):  # a kill came between the two
                self.client.create_index(self.name, self._index(config), timeout=CALL_S)
            self.client.load_collection(self.name, timeout=CALL_S)
        before = len(self)
        missing = self._missing(corpus.ids, display) if before else np.arange(len(corpus))
        there = len(corpus) - len(missing)
        if before > there:
            raise UserError(
                f"{self.place} has rows that are no passages of {source.run} ({before - there:,}); "
                "delete them, or choose another --collection"
            )
        with display.task("writing", len(missing)) as advance, self._explained():
            for start in range(0, len(missing), BATCH):
                rows = [_row(corpus, place, source) for place in missing[start : start + BATCH].tolist()]
                self.client.upsert(self.name, rows, timeout=CALL_S)
                advance(len(rows))
        return Written(len(missing), there, sum(_cut(text) != text for text in corpus.texts))

    def wait(self, display: Display) -> None:
        """Wait until all rows are in the index; before that, Milvus searches the others exactly.

        Raises :class:`UserError` when the index does not grow for :data:`PATIENCE_S`.
        """
        with self._explained(), display.task("building the index", len(self)) as advance:
            self.client.flush(self.name, timeout=CALL_S)
            done, since = 0, monotonic()
            while (told := self.client.describe_index(self.name, "vector", timeout=CALL_S))["pending_index_rows"] != 0:
                if (indexed := int(told["indexed_rows"])) > done:
                    advance(indexed - done)
                    done, since = indexed, monotonic()
                if monotonic() - since > PATIENCE_S:
                    raise UserError(
                        f"{self.place}: {told['pending_index_rows']} rows wait for the index; try again later"
                    )
                sleep(POLL_S)

    def nearest(self, vectors: Floats, k: int, ef: int, matching: str = "", texts: bool = True) -> list[list[Hit]]:
        """The ``k`` rows, or fewer, of the largest inner product with each of ``vectors`` [Q, d], best first.

        ``ef`` candidates are held, at least ``k``. Only rows that fulfil the expression ``matching`` of Milvus are
        found. Without ``texts``, those of the hits are empty.
        """
        found: list[list[Hit]] = []
        asked: dict[str, Any] = {
            "limit": k,
            "filter": matching,
            "output_fields": ["text" if texts else "id"],
            "search_params": {"metric_type": "IP", "params": {"ef": max(ef, k)}},
            "timeout": CALL_S,
        }
        with self._explained():
            for start in range(0, len(vectors), QUERIES):
                answers = self.client.search(self.name, data=list(vectors[start : start + QUERIES]), **asked)
                found += [
                    [
                        Hit(rank, str(hit["id"]), hit["entity"].get("text", ""), float(hit["distance"]))
                        for rank, hit in enumerate(answer, start=1)
                    ]
                    for answer in answers
                ]
        return found

    def __len__(self) -> int:
        """The number of rows."""
        with self._explained():
            counted = self.client.query(self.name, filter="", output_fields=["count(*)"], timeout=CALL_S)
        return int(counted[0]["count(*)"])

    def _create(self, dim: int, source: Source, config: IndexConfig) -> None:
        from pymilvus import DataType

        if self.file is not None:
            _clear(self.file, self.name)
        with self._explained():
            schema = self.client.create_schema(auto_id=False, enable_dynamic_field=True)
            schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=MOST_BYTES)
            schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
            schema.add_field("text", DataType.VARCHAR, max_length=MOST_BYTES)
            self.client.create_collection(
                self.name,
                schema=schema,
                index_params=self._index(config),
                properties={_PROPERTY + name: value for name, value in asdict(source).items()},
                consistency_level="Strong",  # a count and a search see all that was written
                timeout=CALL_S,
            )

    def _index(self, config: IndexConfig) -> Any:
        params = self.client.prepare_index_params()
        graph = {"M": config.m, "efConstruction": config.ef_construction}
        params.add_index("vector", index_type="HNSW", metric_type="IP", params=graph)
        return params

    def _compare(self, found: Source, source: Source) -> None:
        if found.run != source.run:
            raise UserError(
                f"{self.place} has the corpus of {found.run}, not of {source.run}; choose another --collection"
            )
        if found != source:
            raise UserError(
                f"{self.place} has vectors of {source.run} from before its weights changed; choose another --collection"
            )

    def _missing(self, ids: Sequence[str], display: Display) -> Ids:
        """The places of the passages that the collection does not have."""
        there: set[str] = set()
        with display.task("looking what is there", len(ids)) as advance, self._explained():
            for start in range(0, len(ids), BATCH):
                some = list(ids[start : start + BATCH])
                there |= {row["id"] for row in self.client.get(self.name, some, output_fields=["id"], timeout=CALL_S)}
                advance(len(some))
        return np.flatnonzero([name not in there for name in ids])

    @contextmanager
    def _explained(self) -> Iterator[None]:
        from grpc import RpcError
        from pymilvus import MilvusException

        try:
            yield
        except (MilvusException, RpcError) as error:
            raise UserError(f"{self.place}: {in_one_line(error)}") from error


def _clear(file: Path, name: str) -> None:
    """Remove what a kill has left of a collection that milvus-lite was making: it refuses the name ever after."""
    place = file / "collections" / name
    if Path(name).name == name and place.is_dir() and {left.name for left in place.iterdir()} <= {"schema.json.tmp"}:
        shutil.rmtree(place)


def _row(corpus: Corpus, place: int, source: Source) -> dict[str, Any]:
    return {
        "id": corpus.ids[place],
        "vector": corpus.vectors[place],
        "text": _cut(corpus.texts[place]),
        "run": source.run,
        "data": source.data,
        "place": place,
    }


def _cut(text: str) -> str:
    """The text up to :data:`MOST_BYTES` bytes of UTF-8, in whole characters."""
    if len(text) <= MOST_BYTES // 4:
        return text
    return text.encode()[:MOST_BYTES].decode(errors="ignore")
