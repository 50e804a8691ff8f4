"""``bench index``: the corpus of a run in a vector store."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.commands import embed
from bench.commands.groups import RunsDir
from bench.errors import UserError, without_secrets

if TYPE_CHECKING:
    from bench.model.encoder import Encoder
    from bench.record.record import Record
    from bench.use.milvus import Source
    from bench.use.stored import Recalls

app = typer.Typer()
PRECISION = "fp32"  # of the vectors in a store

Collection = Annotated[str, typer.Option(metavar="NAME", help="The collection in the store.")]


@app.command(epilog="Example: bench index in_batch-docs-s1-8c84c7be --to milvus://corpus.db --collection passages")
def index(
    model: embed.Model,
    to: Annotated[
        str,
        typer.Option(metavar="STORE", help="milvus://FILE.db, or http://HOST:19530 with the token in MILVUS_TOKEN."),
    ],
    collection: Collection = "passages",
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Compare recall in the store with that of the run.")
    ] = True,
    device: embed.Device = "auto",
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """Write the run's corpus into a vector store. After a kill, the same command writes what is missing."""
    from bench.progress import Display
    from bench.record.schema import RETRIEVAL
    from bench.use.corpus import Corpus, data_of, index_of
    from bench.use.milvus import MilvusStore
    from bench.use.stored import recalls
    from bench.use.weights import run_of

    run = run_of(model, runs_dir)
    if run is None:
        raise UserError(f"{model} is no run, so it has no corpus; give a run's id or directory")
    record = run.read_record()
    with MilvusStore.open(to, collection, create=True) as store, Display() as display:
        embedder = embed.load(run, device, PRECISION, runs_dir)
        corpus = Corpus.of_run(run, embedder, display, most=1)
        data = data_of(record) if check and record.evaluation == RETRIEVAL.name else None
        config = index_of(record, int(record.config["eval"]["retrieve"]))
        written = store.write(corpus, source_of(record, embedder.encoder), config, display)
        cut = f", {written.cut:,} texts cut to what Milvus takes" if written.cut else ""
        place = without_secrets(store.place)
        print(f"{place}: {len(corpus):,} passages, {written.new:,} written, {written.there:,} were there{cut}")
        store.wait(display)
        found = None if data is None else recalls(corpus, store, config.ef, data, record, display)
    if found is not None:
        _show(found, record)


def source_of(record: Record, encoder: Encoder) -> Source:
    """What a collection of a run's corpus is written from."""
    from bench.use.corpus import origin
    from bench.use.milvus import Source

    fingerprint = record.data["fingerprint"]
    return Source(record.run_id, str(record.data["name"]), origin(encoder, PRECISION, fingerprint))


def _show(found: Recalls, record: Record) -> None:
    """Recall by record, by the run's own index and by the store, and what the store has more than that index."""
    from rich.table import Table

    from bench.commands.output import console

    table = Table("", box=None, pad_edge=False)
    for column in ("record", "index", "store", "difference"):
        table.add_column(column, justify="right")
    for name, own in found.index.items():
        recorded, stored = found.recorded[name], found.store[name]
        told = "" if recorded is None else f"{recorded:.2f}"
        table.add_row(name, told, f"{own:.2f}", f"{stored:.2f}", f"{stored - own:+z.2f}")
    console().print(table)
    print("index: the run's own, with the vectors of the store; difference: store less index", file=sys.stderr)
    narrowed = [name for name in ("max_corpus", "paddle_compat") if record.config["eval"].get(name)]
    if narrowed:
        told = ", ".join(f"eval.{name}" for name in narrowed)
        print(f"the record is of fewer texts ({told}), the other columns are of all", file=sys.stderr)
