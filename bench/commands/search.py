"""``bench search``: the passages of a run's corpus that fit a query best."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer

from bench.atomic import explain_write_errors, write_atomic
from bench.commands import embed
from bench.commands.groups import RunsDir
from bench.commands.index import Collection, source_of
from bench.errors import UserError, at_least

if TYPE_CHECKING:
    from bench.use.corpus import Corpus, Hit
    from bench.use.stored import StoredCorpus
    from bench.use.weights import Named

app = typer.Typer()
AT_ONCE = 256  # queries


class Format(StrEnum):
    """How hits are written: JSON lines, or a run file of TREC."""

    jsonl = "jsonl"
    trec = "trec"


@app.command(epilog='Example: bench search in_batch-docs-s1-8c84c7be "which layer normalises its input" -k 5')
def search(
    model: embed.Model,
    query: Annotated[
        str | None, typer.Argument(help="The query; without it and --queries, each line typed in.")
    ] = None,
    k: Annotated[int, typer.Option("--k", "-k", help="Passages to show for each query.")] = 10,
    queries: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Queries, one a line; - is standard input.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the hits into this file.")] = None,
    format: Annotated[Format, typer.Option(help="Of --out and of many queries.")] = Format.jsonl,
    data: Annotated[
        str | None, typer.Option(metavar="DATA", help="Search the corpus of this data set, not that of the run.")
    ] = None,
    store: Annotated[
        str | None, typer.Option(metavar="STORE", help="Search where bench index has written the corpus.")
    ] = None,
    collection: Collection = "passages",
    matching: Annotated[
        str, typer.Option("--filter", metavar="EXPRESSION", help="Of Milvus, such as 'place < 100'; with --store.")
    ] = "",
    device: embed.Device = "auto",
    precision: embed.Precision = "fp32",
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """Search the run's corpus. The first search embeds and indexes it; the index is kept beside the run."""
    from bench.use.texts import read_lines, refuse_empty

    at_least("-k", k, 1)
    if query is not None and queries is not None:
        raise UserError("give either a query or --queries FILE")
    if store is not None and data is not None:
        raise UserError("give either --store or --data")
    if matching and store is None:
        raise UserError("--filter needs --store")
    if query is not None:
        refuse_empty([query], "the query")
    asked = [query] if query is not None else None if queries is None else read_lines(queries, "--queries")
    if store is None:
        _answer(load(model, k, data, device, precision, runs_dir), asked, query, k, format, out)
    else:
        with stored(model, store, collection, matching, device, precision, runs_dir) as corpus:
            _answer(corpus, asked, query, k, format, out)


def load(model: Named, k: int, data: str | None, device: str, precision: str, runs_dir: Path) -> Corpus:
    """The corpus that ``model`` searches: that of the run, or of ``data``."""
    from bench.cache import cache_dir
    from bench.data.load import DataConfig
    from bench.data.load import load as load_data
    from bench.progress import Display
    from bench.search import IndexConfig
    from bench.use.corpus import Corpus
    from bench.use.weights import run_of

    run = run_of(model, runs_dir)
    embedder = embed.load(run or model, device, precision, runs_dir)
    with Display() as display:
        if data is not None:
            found = load_data(DataConfig(data))
            place = (cache_dir() or Path("index")) / "indexes"
            config = IndexConfig(ef=max(IndexConfig.ef, k))
            return Corpus.of(place, lambda: found, found.fingerprint, config, embedder, display)
        if run is None:
            raise UserError(f"{model} is no run, so it has no corpus; give one as --data DATA")
        return Corpus.of_run(run, embedder, display, k)


@contextmanager
def stored(
    model: str, address: str, collection: str, matching: str, device: str, precision: str, runs_dir: Path
) -> Iterator[StoredCorpus]:
    """The corpus of the run ``model`` in a vector store."""
    from bench.use.corpus import index_of, known_queries
    from bench.use.milvus import MilvusStore
    from bench.use.stored import StoredCorpus
    from bench.use.weights import run_of

    run = run_of(model, runs_dir)
    if run is None:
        raise UserError(f"{model} is no run; a store has the corpus of one")
    record = run.read_record()
    with MilvusStore.open(address, collection) as store:
        embedder = embed.load(run or model, device, precision, runs_dir)
        store.require(source_of(record, embedder.encoder))
        yield StoredCorpus(embedder, store, index_of(record, 1).ef, matching, known_queries(run))


def _answer(
    corpus: Corpus | StoredCorpus,
    asked: Sequence[str] | None,
    query: str | None,
    k: int,
    format: Format,
    out: Path | None,
) -> None:
    """Write the hits of ``asked``, which may be one ``query`` alone, or of each line of standard input."""
    if asked is None:
        _converse(corpus, k, format)
    elif out is not None:
        lines = list(_lines(corpus, asked, k, format))
        with explain_write_errors(out):
            out.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(out, "".join(f"{line}\n" for line in lines).encode())
        print(out)
    elif query is not None and format is Format.jsonl:
        _show(corpus, query, k)
    else:
        for line in _lines(corpus, asked, k, format):
            print(line)


def _converse(corpus: Corpus | StoredCorpus, k: int, format: Format) -> None:
    """Answer each line of standard input at once."""
    number = 0
    asking = sys.stdin.isatty()
    if asking:
        print(f"{len(corpus):,} passages; type a query, or Ctrl-D to end", file=sys.stderr)
    for number, line in enumerate(sys.stdin, start=1):
        if not line.strip():
            if asking:
                continue
            raise UserError(f"standard input: line {number} is empty")
        if asking:
            _show(corpus, line.strip(), k)
        else:
            for told in _lines(corpus, [line.rstrip("\r\n")], k, format, number):
                print(told, flush=True)
    if not asking and not number:
        raise UserError("standard input has no query; give one as an argument, or --queries FILE")


def _show(corpus: Corpus | StoredCorpus, query: str, k: int) -> None:
    """The hits of one query for a reader: rank, score, id, and as much of the text as fits into a line."""
    start = perf_counter()
    (hits,) = corpus.search([query], k)
    took = 1000 * (perf_counter() - start)
    width = shutil.get_terminal_size((100, 24)).columns
    known = corpus.queries.get(query)
    relevant = set(known.relevant) if known else set()
    names = max((len(hit.id) for hit in hits), default=0)
    for hit in hits:
        head = f"{hit.rank:>3}  {hit.score:.3f}  {'*' if hit.id in relevant else ' '} {hit.id:<{names}}  "
        text = " ".join(hit.text.split())
        room = max(20, width - len(head))
        print(head + (text if len(text) <= room else f"{text[: room - 1]}…"))
    marked = ", * is labelled relevant" if relevant else ""
    print(f"{len(corpus):,} passages, {took:.0f} ms{marked}", file=sys.stderr)


def _lines(
    corpus: Corpus | StoredCorpus, queries: Sequence[str], k: int, format: Format, first: int = 1
) -> Iterable[str]:
    """The hits of all queries in a format. A query of the data set has its id there, another one its line."""
    told: Callable[[str, str, Sequence[Hit]], Iterable[str]] = _json if format is Format.jsonl else _trec
    for start in range(0, len(queries), AT_ONCE):
        some = queries[start : start + AT_ONCE]
        for number, (query, hits) in enumerate(zip(some, corpus.search(some, k), strict=True), start + first):
            known = corpus.queries.get(query)
            yield from told(known.id if known else str(number), query, hits)


def _json(name: str, query: str, hits: Sequence[Hit]) -> Iterable[str]:
    found = [{"rank": hit.rank, "id": hit.id, "score": round(hit.score, 6), "text": hit.text} for hit in hits]
    yield json.dumps({"id": name, "query": query, "hits": found}, ensure_ascii=False)


def _trec(name: str, query: str, hits: Sequence[Hit]) -> Iterable[str]:
    for hit in hits:
        yield f"{name} Q0 {hit.id} {hit.rank} {hit.score:.6f} negbench"
