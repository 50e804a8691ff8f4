"""One run as a pipeline of values: prepared, trained, measured, recorded. Each step returns a new value."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from bench.atomic import explain_write_errors
from bench.config.run import RunConfig
from bench.data.dataset import DataSet, Floats
from bench.errors import UserError
from bench.evaluate import Evaluation, Measured, evaluation_kind
from bench.model.config import EncoderConfig
from bench.model.described import read
from bench.model.embedding import Cost, embed, encode, on_disk, weights_digest
from bench.model.files import save
from bench.model.language import LanguageModelHead, save_head
from bench.model.precision import resolve_precision
from bench.model.prepared import Prepared
from bench.model.presets import build
from bench.phases import peak_memory_mb, phase
from bench.record.environment import environment
from bench.record.identity import LATER, flat
from bench.record.record import Metrics, Record, now
from bench.record.serialize import canonical
from bench.record.store import RunDirectory
from bench.run.baseline import baseline
from bench.run.context import ActiveRun
from bench.run.doubts import doubts, mostly_mining, seen_queries
from bench.run.processing import by_task, check_width, of_each_task, processed
from bench.run.stages import Trained, train
from bench.run.truncation import Lost, lost, tokens_of, warnings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluated:
    """The result of an evaluation, the cost of encoding its ``texts``, and that of fitting the post-processing."""

    measured: Measured
    cost: Mapping[str, float]
    texts: int
    fitting: Cost = field(default_factory=Cost)


@dataclass(frozen=True)
class Worked:
    """The metrics before training, its result, the encoder with its post-processing, and the evaluation of it."""

    before: Metrics | None
    trained: Trained
    prepared: Prepared
    after: Evaluated


def carry_out(run: ActiveRun, started: Record, prepared: Prepared, evaluation: Evaluation) -> Record:
    """All steps of one run, from :func:`prepare` to its finished record. ``started`` is the initial record."""
    data = prepared.data
    of_data = {"of_data": data.fingerprint}  # a sweep over one data set says it once
    for what, number in data.notices.items():
        log.warning("%s: %s%s", data.name, what, f" ({number:,})" if number > 1 else "", extra=of_data)
    gone = lost(data, prepared.queries, prepared.passages)
    told_of_data = [
        *warnings(gone, data.counts, prepared.encoder.config),
        *doubts(data, started.split, started.data["seen_queries"], run.config),
    ]
    for told in told_of_data:
        log.warning(told, extra=of_data)
    done = work(run, prepared, evaluation)
    trained = done.trained
    told_of_cost = [*mostly_mining(run.config, trained.steps, trained.texts, trained.mined.texts)]
    for told in (*told_of_cost, *done.after.measured.warnings):
        log.warning(told)
    record = finish(started, done.prepared, trained, done.after, done.before, gone, [*told_of_data, *told_of_cost])
    keep(run, done.prepared, evaluation, done.after.measured, record, done.trained.language)
    return record


def work(run: ActiveRun, prepared: Prepared, evaluation: Evaluation) -> Worked:
    """What all ranks of a run do together: encode and measure before training, train, encode and measure after it.

    Only the first rank measures and writes; what the others return of it is empty.
    """
    before = _before(run, prepared, evaluation) if run.config.eval.untrained else None
    trained = train(run, prepared, evaluation)
    untrained = trained.steps == 0
    prepared, fitting = processed(run, prepared, untrained)
    after = evaluate(run, prepared, evaluation, "evaluate", untrained)
    return Worked(before, trained, prepared, replace(after, fitting=fitting))


def start(config: RunConfig, command: str, data: DataSet, split: str, evaluation: Evaluation) -> Record:
    """The initial record of a run that starts now."""
    return Record(
        run_id=config.run_id(data.fingerprint),
        strategy=config.strategy.name,
        knobs=dict(flat(asdict(config.strategy))),
        data={
            "name": data.name,
            "fingerprint": data.fingerprint,
            "counts": data.counts,
            "notices": dict(data.notices),
            "seen_queries": seen_queries(data, split),
        },
        encoder=asdict(config.settled_encoder()),
        seed=config.seed,
        status="running",
        command=command,
        config=config.tree(),
        split=split,
        started=now(),
        evaluation=evaluation.schema.name,
    )


def evaluation_of(config: RunConfig, data: DataSet, split: str, device: torch.device) -> Evaluation:
    """How the run is measured. Raises :class:`UserError` for what cannot be, before anything is encoded."""
    found = evaluation_kind(data).of(data, split, config.eval, config.index, str(device), config.seed)
    if by_task(config.encoder) and not found.texts().tasks:
        raise UserError("encoder.post_on=task fits the post-processing for each similarity task, and this is retrieval")
    return found


def prepare(run: ActiveRun, data: DataSet, device: torch.device) -> Prepared:
    """The encoder that the configuration names, and the data set's texts as it reads them."""
    config = run.config
    with run.display.task("encoder and tokens"):
        start = config.start
        settings = config.encoder if start is None else _weights(start, config)
        encoder = build(settings, data.vocabulary_texts, device, config.seed)
        encoder.check_lengths()
        check_width(settings, encoder.dim)
        queries, passages = tokens_of(data, encoder, run.cache)
        return Prepared(data, encoder, queries, passages, resolve_precision(config.train.precision, device))


def _before(run: ActiveRun, prepared: Prepared, evaluation: Evaluation) -> Metrics:
    """Metrics of the encoder before training, measured once for all runs that start from it."""

    def measure() -> Metrics:
        encoder, _ = processed(run, prepared, True)
        return evaluate(run, encoder, evaluation, "evaluate untrained", True).measured.metrics

    key = [
        weights_digest(prepared.encoder),
        prepared.encoder.recipe,
        prepared.data.fingerprint,
        prepared.precision,
        asdict(prepared.encoder.config),
        evaluation.key,
    ]
    return baseline(
        run.cache,
        key,
        measure,
        run.world,
    )


def evaluate(run: ActiveRun, prepared: Prepared, evaluation: Evaluation, name: str, untrained: bool) -> Evaluated:
    """Encode the texts of ``evaluation`` and measure; the vectors of an ``untrained`` encoder are cached."""
    rows, device = evaluation.texts(), str(prepared.encoder.device)
    cost: dict[str, float] = {}
    if by_task(run.config.encoder):
        with phase("encode", cost, device):
            of_tasks = of_each_task(run, prepared, rows.tasks, untrained)
        return Evaluated(_measured(run, evaluation, of_tasks, of_tasks[:0]), cost, len(rows))
    sides = ((prepared.queries, rows.queries), (prepared.passages, rows.passages))
    vectors, made = [], Cost()
    with run.display.task(name, len(rows)) as advance, phase("encode", cost, device):
        for tokens, ids in sides:
            if untrained and len(ids):
                task = lambda *_: nullcontext(advance)  # noqa: E731
                found, making = embed(prepared, tokens, np.unique(ids), run.cache, task, world=run.world)
                vectors.append(found.take(ids))
                made += making
            else:
                out = on_disk(len(ids), prepared.encoder.dim, run.directory.path)
                encode(prepared.encoder, tokens, prepared.precision, ids, advance, world=run.world, out=out)
                vectors.append(out)
    if untrained:
        cost["encode_s"] = made.seconds
    with run.display.task("search"):
        return Evaluated(_measured(run, evaluation, vectors[0], vectors[1]), cost, len(rows))


def _measured(run: ActiveRun, evaluation: Evaluation, queries: Floats, passages: Floats) -> Measured:
    """The measurements of the vectors, on the first rank."""
    return evaluation.measure(queries, passages) if run.world.first else Measured({}, pd.DataFrame())


def finish(
    started: Record,
    prepared: Prepared,
    trained: Trained,
    after: Evaluated,
    before: Metrics | None,
    gone: Lost,
    doubtful: Sequence[str],
) -> Record:
    """The record of a finished run; ``gone`` is what reading lost of the texts, ``doubtful`` are warnings so far."""
    device = str(prepared.encoder.device)
    cost: dict[str, float | None] = {
        **after.cost,
        "texts_per_s": after.texts / after.cost["encode_s"],
        "train_s": trained.seconds,
        "mine_s": trained.mined.seconds,
        **after.measured.cost,
        "pairs_per_s": trained.pairs / trained.seconds if trained.seconds else None,
        "examples": float(trained.pairs),
        "texts_encoded": float(trained.texts + trained.mined.texts),
        **({"post_s": after.fitting.seconds} if after.fitting.texts else {}),
        "mine_texts": float(trained.mined.texts),
        "peak_memory_mb": peak_memory_mb(device),
    }
    told = [*doubtful, *trained.warnings, *after.measured.warnings]
    return replace(
        started,
        status="finished",
        finished=now(),
        data={**started.data, **gone.facts()},
        metrics=after.measured.metrics,
        baseline_metrics=before,
        cost=cost,
        environment={**environment(device), "precision": prepared.precision},
        selection=trained.selection,
        items=after.measured.counts,
        geometry=after.measured.geometry,
        training={"telemetry": trained.telemetry, "warnings": told},
        invalid=trained.invalid,
    )


def keep(
    run: ActiveRun,
    prepared: Prepared,
    evaluation: Evaluation,
    measured: Measured,
    record: Record,
    language: LanguageModelHead | None = None,
) -> None:
    """Write the files of the run, the record last, and log the results to the tracker."""
    directory, tracker = run.directory, run.tracker
    if run.keeps_weights:
        with explain_write_errors(directory.model):
            save(prepared.encoder, directory.model)
        if language is not None:
            save_head(language, directory.head)
    directory.write_items(measured.items, evaluation.schema.items_file)
    directory.write_hardest(measured.hardest)
    evaluation.write_files(measured, directory.path)
    tracker.table(f"worst_{evaluation.schema.items}", evaluation.worst_table(measured))
    beside = {"cost": record.cost, "geometry": record.geometry}
    of_parts = {f"{part}/{name}": value for part, values in beside.items() for name, value in values.items()}
    why = {"invalid": record.invalid} if record.invalid else {}
    tracker.summary({**record.metrics, **of_parts, **why})
    directory.write_record(record)
    files = [directory.path / name for name in ("record.json", "hardest.json")]
    facts: dict[str, Any] = {"fingerprint": prepared.data.fingerprint, **record.metrics}
    tracker.results(directory.model if run.keeps_weights else None, files, facts)
    directory.drop_checkpoints()


def _weights(start: Path, config: RunConfig) -> EncoderConfig:
    """The encoder's settings for the weights in ``start``, which ``train.init_from`` names.

    What is not given is as recorded there. Raises :class:`UserError` when ``start`` is of a run that has another
    encoder than the configuration: the record would otherwise name an encoder that was not trained.
    """
    settings = replace(config.encoder, name=str(start), layers=None)  # the layers were chosen when they were saved
    run = RunDirectory(config.root, str(config.train.init_from))
    if start != run.model:
        return settings
    recorded = dict(run.read_record().encoder)
    recorded["pooling"] = recorded.get("pooling") or read(start).pooling
    for key, value in asdict(config.encoder).items():
        same = canonical(recorded.get(key, LATER.get(f"encoder.{key}"))) == canonical(value)
        if not same and (value is not None or key in ("layers", "output_dim")):
            raise UserError(
                f"train.init_from={config.train.init_from}: that run has encoder.{key}={recorded.get(key)}, this one "
                f"{value}; give the same encoder"
            )
    return settings
