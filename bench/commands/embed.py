"""``bench embed``: vectors of texts, and ``bench score``: the similarity of pairs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.atomic import atomic_file, explain_write_errors
from bench.commands import completion
from bench.commands.groups import RunsDir
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.data.dataset import Floats
    from bench.use.embedder import Embedder, TextEmbedder
    from bench.use.onnx_embedder import OnnxEmbedder
    from bench.use.weights import Named

app = typer.Typer()

NAMED = "A run's id or directory, study:NAME (its best run), an encoder's directory, a preset, or a hub id."
Model = Annotated[str, typer.Argument(metavar="RUN", help=NAMED, autocompletion=completion.runs)]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Precision = Annotated[str, typer.Option(help="fp32, bf16, fp16 or auto; a shorter format is faster and less exact.")]
SUFFIXES = (".npy", ".parquet", ".jsonl")


class Role(StrEnum):
    """What a text is read as, which decides its prefix and its length."""

    query = "query"
    passage = "passage"


@app.command(epilog="Example: bench embed in_batch-docs-s1-8c84c7be --texts texts.txt --out vectors.npy --as passage")
def embed(
    model: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help=f"{NAMED} Or give --onnx.", autocompletion=completion.runs),
    ] = None,
    texts: Annotated[Path, typer.Option(metavar="FILE", help="Texts, one a line; - is standard input.")] = Path("-"),
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help=f"{', '.join(SUFFIXES)}; without it, JSON lines are printed.")
    ] = None,
    role: Annotated[Role, typer.Option("--as", help="Read the texts as queries or as passages.")] = Role.passage,
    device: Device = "auto",
    precision: Precision = "fp32",
    onnx: Annotated[
        Path | None, typer.Option(metavar="DIR", help="An export to ONNX instead of RUN; it runs on the CPU.")
    ] = None,
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """Embed texts: one unit vector each, in order."""
    from bench.use.texts import read_lines

    if out is not None and out.suffix not in SUFFIXES:
        raise UserError(f"--out {out}: the name must end in {', '.join(SUFFIXES)}")
    if (model is None) == (onnx is None):
        raise UserError("give either RUN or --onnx DIR")
    lines = read_lines(texts, "--texts")
    embedder = load_onnx(onnx) if onnx is not None else load(str(model), device, precision, runs_dir)
    vectors = _embedded(embedder, lines, role)
    if out is None:
        for line in _as_json(lines, vectors):
            print(line)
        return
    _write(out, lines, vectors)
    print(out)


@app.command(epilog="Example: bench score in_batch-docs-s1-8c84c7be --pairs pairs.tsv > scores.txt")
def score(
    model: Model,
    pairs: Annotated[
        Path, typer.Option(metavar="FILE", help="Two texts a line, with a TAB between; - is standard input.")
    ] = Path("-"),
    roles: Annotated[
        str, typer.Option("--as", help="What the two are read as: query,passage or query,query or passage,passage.")
    ] = "query,passage",
    device: Device = "auto",
    precision: Precision = "fp32",
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """Score pairs: the cosine of their two texts, one a line, in order."""
    from bench.use.texts import read_pairs

    known = [role.value for role in Role]
    sides = roles.split(",")
    if len(sides) != 2 or not set(sides) <= set(known):
        raise UserError(f"--as {roles}: give two of {' and '.join(known)} with a comma, such as query,passage")
    left, right = read_pairs(pairs, "--pairs")
    embedder = load(model, device, precision, runs_dir)
    u, v = (_embedded(embedder, side, Role(role)) for side, role in zip((left, right), sides, strict=True))
    for cosine in (u * v).sum(axis=1).tolist():
        print(f"{cosine:.6f}")


def load(model: Named, device: str, precision: str, runs_dir: Path) -> Embedder:
    """The encoder that ``model`` names, ready to embed."""
    from bench.commands.output import show_logs
    from bench.use.embedder import Embedder
    from bench.use.weights import settings_of

    show_logs()
    return Embedder.load(settings_of(model, runs_dir), device, precision)


def load_onnx(directory: Path) -> OnnxEmbedder:
    """The export in ``directory``, ready to embed."""
    from bench.use.onnx_embedder import OnnxEmbedder

    return OnnxEmbedder.load(directory)


def _embedded(embedder: TextEmbedder, texts: Sequence[str], role: Role) -> Floats:
    from bench.progress import Display

    with Display() as display, display.task("embedding", len(texts)) as advance:
        return embedder.vectors(texts, role.value, advance)


def _as_json(texts: Sequence[str], vectors: Floats) -> list[str]:
    return [
        json.dumps({"text": text, "vector": [round(value, 7) for value in vector]}, ensure_ascii=False)
        for text, vector in zip(texts, vectors.tolist(), strict=True)
    ]


def _write(out: Path, texts: Sequence[str], vectors: Floats) -> None:
    import numpy as np
    import pyarrow as pa
    from pyarrow import parquet

    with explain_write_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(out) as file:
            if out.suffix == ".npy":
                np.save(file, vectors)
            elif out.suffix == ".jsonl":
                file.write("".join(f"{line}\n" for line in _as_json(texts, vectors)).encode())
            else:
                flat = pa.array(vectors.reshape(-1), type=pa.float32())
                rows = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
                parquet.write_table(pa.table({"text": list(texts), "vector": rows}), file)
