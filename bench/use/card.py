"""The model card of an exported encoder: what it is, how it was trained, how good it is, and how it is used."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.compare.comparison import compare
from bench.compare.per_query import of_runs
from bench.compare.row import StrategyRow
from bench.compare.seed_groups import seed_groups
from bench.errors import UserError
from bench.model.encoder import Encoder
from bench.model.published import PUBLISHED
from bench.record.ledger import read
from bench.record.record import Record
from bench.record.serialize import as_override
from bench.record.store import RunDirectory
from bench.setting import place_named
from bench.use.onnx_embedder import ABOUT, INPUTS, MODEL, OUTPUT, About

_TRAINING = ("epochs", "batch_size", "lr", "precision")


@dataclass(frozen=True)
class Training:
    """How an encoder was trained: the record of its run, and the row of all seeds of its setting, if there are some."""

    record: Record
    seeds: StrategyRow | None

    @classmethod
    def of(cls, run: RunDirectory) -> Training:
        record = run.read_record()
        return cls(record, _seeds(run, record))


def _seeds(run: RunDirectory, record: Record) -> StrategyRow | None:
    """The runs that differ from this one in the seed alone; None where it is the only one, or not comparable."""
    try:
        groups = seed_groups(read(run.root).records)
        own = next((found for found in groups if record.run_id in [one.run_id for one in found.records]), None)
        return None if own is None or len(own.records) < 2 else compare(own.records, of_runs(run.root)).rows[0]
    except UserError:
        return None


def card(name: str, encoder: Encoder, use: str, library: str, checks: Sequence[str], training: Training | None) -> str:
    """The card in Markdown, with the head that model hubs read.

    ``name`` is what was exported, ``use`` tells how it is loaded, ``library`` with what, and ``checks`` are sentences
    on how the export compares with the encoder.
    """
    base = name if training is None else str(training.record.encoder["name"])
    parts = [
        _head(base, library),
        f"# {name}",
        f"A text encoder: queries and passages become vectors of {encoder.dim} values and of length one. Their dot "
        "product is their cosine, by which they are compared.",
        _reading(encoder),
        f"## Use\n\n{use}",
        "## Check of the export\n\n" + "\n".join(f"- {line}" for line in checks),
    ]
    if training is None:
        parts.append("## Training\n\nThe encoder is no run of negbench, so nothing is known here of its training.")
    else:
        parts += [_trained(training.record), _measured(training), _repeated(training.record)]
    return "\n\n".join(parts) + "\n"


def use_sentence_transformers(encoder: Encoder) -> str:
    """How the directory is loaded and what to know of it."""
    lengths = encoder.config.query.tokens, encoder.config.passage.tokens
    longest = f"Every text is cut to {max(lengths):,} tokens"
    if lengths[0] != lengths[1]:
        longest += "; negbench cuts queries and passages each to their own length, as the table says"
    return f"""```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("path/to/this/directory")
queries = model.encode_query(["the text of a query"])
passages = model.encode_document(["one passage", "another one"])
print(model.similarity(queries, passages))
```

{longest}. `bench embed path/to/this/directory` and `bench search path/to/this/directory` use it, too."""


def use_onnx(about: About) -> str:
    """How the model is run, and what it takes and gives."""
    told = (
        f"`{MODEL}` (opset {about.opset}) runs in any program that reads ONNX. It takes `{INPUTS[0]}` and "
        f"`{INPUTS[1]}`, int64 [texts, length], padded on the right with the token {about.padding}, and gives "
        f"`{OUTPUT}`, float32 [texts, {about.dim}], of length one. That program has to put the prefix before each text "
        f"and to cut it to the most tokens, special ones included; `{ABOUT}` has both. The tokenizer lies beside it."
    )
    return f"""```python
from pathlib import Path

from bench.use.onnx_embedder import OnnxEmbedder

model = OnnxEmbedder.load(Path("path/to/this/directory"))
queries = model.vectors(["the text of a query"], "query")
passages = model.vectors(["one passage", "another one"], "passage")
print(queries @ passages.T)
```

On the command line: `bench embed --onnx path/to/this/directory --texts texts.txt --out vectors.npy`.

{told}"""


def _head(base: str, library: str) -> str:
    hub = _hub(base)
    lines = ["---", f"library_name: {library}", "pipeline_tag: sentence-similarity"]
    lines += [f"base_model: {hub}"] if hub else []
    lines += ["tags:", "- sentence-similarity", "- feature-extraction", "- negbench", "---"]
    return "\n".join(lines)


def _hub(name: str) -> str | None:
    """The hub id of an encoder's name, where it has one."""
    if name in PUBLISHED:
        return PUBLISHED[name].hub
    is_path = name.startswith((".", "/", "~")) or place_named(name).exists()
    return name if name.count("/") == 1 and not is_path else None


def _reading(encoder: Encoder) -> str:
    rows = [
        (role, _code(reading.prefix) if reading.prefix else "none", f"{reading.tokens:,}")
        for role, reading in (("query", encoder.config.query), ("passage", encoder.config.passage))
    ]
    about = encoder.transformer.config.get_text_config()
    layers = getattr(about, "num_hidden_layers", None)
    model = _code(about.model_type) + (f" of {layers} layers" if layers else "")
    return f"{_table(('text', 'prefix', 'most tokens'), rows)}\n\nModel: {model}. Pooling: {_code(encoder.pooling)}."


def _trained(record: Record) -> str:
    data, train = record.data, record.config.get("train", {})
    counts = ", ".join(
        f"{count:,} {kind.replace('_', ' ')}"
        for kind, count in data["counts"].items()
        if kind in ("train_pairs", "passages") and count
    )
    hub, base = _hub(str(record.encoder["name"])), _code(str(record.encoder["name"]))
    rows = [
        ("base model", base + (f" (`{hub}`)" if hub and hub != record.encoder["name"] else "")),
        ("data", f"{data['name']}{f': {counts}' if counts else ''}"),
        ("fingerprint of the data", _code(data["fingerprint"])),
        ("strategy", _code(record.strategy)),
        *([("its knobs", _settings(record.knobs))] if record.knobs else []),
        ("training", _settings({key: train[key] for key in _TRAINING if key in train})),
        ("steps", _steps(record)),
        *([("budget", budget)] if (budget := _settings(record.config.get("budget", {}))) else []),
        ("post-processing", _post(record.encoder)),
        ("seed", str(record.seed)),
    ]
    return f"## Training\n\n{_table(('', ''), rows)}"


def _steps(record: Record) -> str:
    steps, kept = record.selection.get("steps"), record.selection.get("step")
    told = "not recorded" if steps is None else f"{steps:,}"
    return told if kept in (None, steps) else f"{told}; the weights are those after step {kept:,}"


def _post(encoder: Mapping[str, Any]) -> str:
    post = str(encoder.get("post", "none"))
    of_task = post != "none" and encoder.get("post_on") == "task"
    return _code(post) + (" for the metrics of each task alone; it is not in this encoder" if of_task else "")


def _measured(training: Training) -> str:
    record, row = training.record, training.seeds
    schema = record.evaluation_schema
    names = [name for name in schema.columns if record.metrics.get(name) is not None]
    names += [name for name in schema.of_parts(record.metrics) if record.metrics.get(name) is not None]
    head = ["metric", "before training", f"this run (seed {record.seed})"]
    said = f"Percent, on split {record.split}."
    if row is not None:
        seeds = ", ".join(map(str, row.group.seeds))
        head += [f"mean of seeds {seeds}", "95 % interval"]
        said += f" The intervals are of the mean, over seeds and {schema.items}."
        said += " Two seeds say little about the spread over seeds." if len(row.group.seeds) == 2 else ""
    else:
        said += " There is one seed of this setting, so there is no interval."
    rows = []
    for name in names:
        cells = [f"`{name}`", _number((record.baseline_metrics or {}).get(name)), _number(record.metrics[name])]
        if row is not None:
            found = row.metrics.get(name)
            known = found is not None and found.low is not None
            cells += [_number(found.mean if found else None)]
            cells += [f"{found.low:.2f} to {found.high:.2f}" if found and known else ""]
        rows.append(cells)
    return f"## Metrics\n\n{said}\n\n{_table(head, rows)}"


def _repeated(record: Record) -> str:
    return f"## The run again\n\n```sh\n{record.command}\n```\n\nThe run's id is `{record.run_id}`."


def _settings(tree: Mapping[str, Any]) -> str:
    return ", ".join(_code(f"{key}={as_override(value)}") for key, value in tree.items() if value is not None)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _code(text: str) -> str:
    """Text as it is, in a cell of a table."""
    shown = text if text == text.strip() and text.isprintable() else json.dumps(text, ensure_ascii=False)
    return f"`{shown}`".replace("|", "\\|")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
