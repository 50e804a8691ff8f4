"""``bench serve``: vectors and hits over HTTP and gRPC, and a page to search with."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.commands import completion, embed
from bench.commands.groups import RunsDir
from bench.errors import UserError, at_least, at_most, install

if TYPE_CHECKING:
    from bench.use.serving.served import Served
    from bench.use.weights import Named

app = typer.Typer()
LOCAL = ("127.0.0.1", "localhost", "::1")


@app.command(epilog="Example: bench serve in_batch-docs-s1-8c84c7be --port 8080")
def serve(
    model: embed.Model,
    other: Annotated[
        str | None,
        typer.Argument(metavar="RUN_B", help="A second run, whose hits stand beside.", autocompletion=completion.runs),
    ] = None,
    port: Annotated[int, typer.Option(help="The port of HTTP; 0 takes a free one.")] = 8080,
    host: Annotated[str, typer.Option(help="The address; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    grpc_port: Annotated[int | None, typer.Option(help="Also serve gRPC, at this port.")] = None,
    api_key: Annotated[
        str | None,
        typer.Option(metavar="KEY", envvar="NEGBENCH_API_KEY", help="Clients must send this key as a bearer token."),
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="DATA", help="Search the corpus of this data set, not that of the run.")
    ] = None,
    max_concurrent_requests: Annotated[int, typer.Option(help="Requests in work at once; others get 429.")] = 512,
    max_client_batch_size: Annotated[int, typer.Option(help="Texts of a request.")] = 32,
    max_batch_tokens: Annotated[int, typer.Option(help="Tokens of a batch; 1 encodes each request alone.")] = 16_384,
    device: embed.Device = "auto",
    precision: embed.Precision = "fp32",
    onnx: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The run's export to ONNX, which then embeds; on the CPU.")
    ] = None,
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """Serve vectors (as text-embeddings-inference and OpenAI do), hits of the run's corpus, and a page."""
    for name, given in (("--port", port), ("--grpc-port", grpc_port or 0)):
        at_least(name, given, 0)
        at_most(name, given, 65535)
    for name, given in (
        ("--max-concurrent-requests", max_concurrent_requests),
        ("--max-client-batch-size", max_client_batch_size),
        ("--max-batch-tokens", max_batch_tokens),
    ):
        at_least(name, given, 1)
    if api_key is not None and not api_key.strip():
        raise UserError("--api-key is empty")
    if onnx is not None and other is not None:
        raise UserError("--onnx is the export of one run; serve the other one alone")
    _require(grpc_port is not None)
    from bench.use.serving import server
    from bench.use.serving.batcher import Batcher, Limits
    from bench.use.serving.metrics import Metrics
    from bench.use.serving.service import Service

    place = server.bound(host, port)
    if grpc_port is not None:
        server.bound(host, grpc_port).close()  # told now, and not after the encoder is loaded
    models = dict(_named(one, runs_dir) for one in (model, other) if one is not None)
    if other is not None and len(models) == 1:
        raise UserError(f"both runs are {next(iter(models))}")
    served = [_served(name, one, data, device, precision, runs_dir) for name, one in models.items()]
    if onnx is not None:
        served = [served[0].by_onnx(embed.load_onnx(onnx))]
    limits, metrics = Limits(max_concurrent_requests, max_client_batch_size, batch_tokens=max_batch_tokens), Metrics()
    if host not in LOCAL and api_key is None:
        print(f"whoever reaches {host} may ask; --api-key KEY asks for a key", file=sys.stderr)
    batchers = [Batcher(one.encoder, limits, metrics) for one in served]
    server.run(Service(served, batchers, metrics, limits, api_key), place, grpc_port)


def _require(rpc: bool) -> None:
    """Raise :class:`UserError` unless the packages of the server are installed."""
    from importlib.util import find_spec

    needed = ["starlette", "uvicorn", *(["grpc", "grpc_tools"] if rpc else [])]
    if missing := [name for name in needed if find_spec(name) is None]:
        raise UserError(
            f"{missing[0]} is not installed: {install('grpc' if missing[0].startswith('grpc') else 'serve')}"
        )


def _named(model: str, runs_dir: Path) -> tuple[str, Named]:
    """The name under which ``model`` is served, and the run if it names one, or itself.

    The name is the run's id, or that of ``model`` without the directories above it.
    """
    from bench.setting import place_named
    from bench.use.weights import run_of

    run = run_of(model, runs_dir)
    return (place_named(model).name, model) if run is None else (run.run_id, run)


def _served(name: str, model: Named, data: str | None, device: str, precision: str, runs_dir: Path) -> Served:
    """The encoder that ``model`` names and its corpus, if there is one: without it, vectors alone are served."""
    from bench.commands.search import load
    from bench.setting import place_named
    from bench.use.serving.requests import MOST_HITS
    from bench.use.serving.served import Served
    from bench.use.weights import run_of, settings_of

    settings_of(model, runs_dir)  # without an encoder there is nothing to serve
    run = run_of(model, runs_dir)
    record = None if run is None else run.read_record()
    corpus = None
    try:
        corpus = load(model, MOST_HITS, data, device, precision, runs_dir)
    except UserError as error:
        if data is not None:
            raise
        print(f"{name} serves vectors and no search: {error}", file=sys.stderr)
    embedder = embed.load(model, device, precision, runs_dir) if corpus is None else corpus.embedder
    other = data and place_named(data).name
    told = (None, other) if record is None else (record.strategy, other or record.data["name"])
    return Served.of(name, embedder, corpus, *told)
