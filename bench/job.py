"""The steps of one run: encoder, tokens, training, evaluation, record. It only connects the rooms."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from bench.data import DataSet, tokenize
from bench.data.cache import cache_dir
from bench.data.dataset import Split
from bench.data.tokens import Tokens
from bench.disk import refusals
from bench.errors import UserError
from bench.evaluate import Retrieval, bounded, evaluate
from bench.evaluate.hardest import hardest
from bench.model.encode import encode
from bench.model.encoder import Encoder
from bench.model.files import save
from bench.model.precision import resolve_precision
from bench.model.presets import build, weights_digest
from bench.negatives import Reader
from bench.negatives.vectors import embed
from bench.progress import Display
from bench.record.environment import environment, peak_memory_mb, reset_peak_memory
from bench.record.identity import flat
from bench.record.plain import canonical
from bench.record.record import Record, now
from bench.record.store import RunDirectory
from bench.record.tracker import Tracker
from bench.record.untrained import Untrained
from bench.role import ALONE, Role
from bench.stages import Stages, Trained

if TYPE_CHECKING:
    from bench.run import RunConfig

log = logging.getLogger(__name__)

WORST = 50  # queries that are kept in words


@dataclass
class Job:
    """One run on its way; its parts are steps that share the encoder, the tokens and the costs."""

    config: RunConfig
    command: str
    data: DataSet
    split: str
    device: torch.device
    directory: RunDirectory
    tracker: Tracker
    display: Display
    role: Role = ALONE

    def __post_init__(self) -> None:
        self.started = now()
        self.precision = resolve_precision(self.config.train.precision, self.device)
        self.cost: dict[str, float | None] = {}
        self.selection: dict[str, Any] = {}
        self.training: dict[str, Any] = {}
        self.metrics: dict[str, float] = {}
        self.baseline: Mapping[str, float | None] | None = None

    def carry_out(self, identity: str) -> Record:
        config, data = self.config, self.data
        self.directory.write_config(config.tree())
        resume = self.directory.begun(0)
        group, tags = self.role.group or config.strategy.name, (data.name, config.encoder.name)
        self.tracker.start(identity, config.tree(), group, tags, self.role.job_type, resume)
        self.tracker.data(data.name, {"fingerprint": data.fingerprint, **data.counts})
        reset_peak_memory(str(self.device))
        with self.display.task("encoder and tokens"):
            self.encoder = self._encoder()
            self.queries, self.passages = self._tokens()
        if config.eval.untrained:
            self.baseline = self._untrained()
        done = self._train()
        result = self._evaluate("evaluate", start=done.steps == 0)
        self.metrics = result.metrics
        self._costs(done, result)
        with refusals(self.directory.model):
            save(self.encoder, self.directory.model)
        self.directory.write_ranks(result.ranks)
        worst = hardest(data, self.split, result.ranks, WORST)
        self.directory.write_hardest(worst)
        if config.eval.recall_file:
            self._recall_file(result)
        record = self.record(identity, status="finished")
        self.tracker.table("worst_queries", _as_table(worst))
        self.tracker.summary({**record.metrics, **{f"cost/{k}": v for k, v in record.cost.items()}})
        self.directory.write_record(record)
        files = [self.directory.path / name for name in ("record.json", "hardest.json")]
        self.tracker.results(self.directory.model, files, {"fingerprint": data.fingerprint, **record.metrics})
        self.directory.drop_checkpoints()
        return record

    def _encoder(self) -> Encoder:
        config = self.config.encoder
        start = self.config.train.init_from
        if start is not None:
            found = _weights(start, self.config)
            # The layers were chosen when the weights were saved.
            config = replace(config, name=str(found), layers=None)
        encoder = build(config, self.data.passages, self.device, self.config.seed)
        encoder.check_lengths()
        return encoder

    def _tokens(self) -> tuple[Tokens, Tokens]:
        config, tokenizer, cache = self.config.encoder, self.encoder.tokenizer, cache_dir()
        return (
            tokenize(self.data.queries, tokenizer, config.max_query_tokens, config.query_prefix, cache),
            tokenize(self.data.passages, tokenizer, config.max_passage_tokens, config.passage_prefix, cache),
        )

    def _train(self) -> Trained:
        """Carry out the stages of the strategy; the encoder is left as the last one's best."""
        dev = self.data.splits.get("dev")
        stages = Stages(
            self.config,
            self.data,
            Reader(self.encoder, self.queries, self.passages, self.precision),
            self.directory,
            self.display,
            self._event,
            None if dev is None else _Dev(self, dev),
        )
        done = stages.carry_out()
        self.selection = done.selection
        self.training = {"telemetry": done.telemetry, "warnings": done.warnings}
        return done

    def _event(self, row: dict[str, Any]) -> None:
        self.directory.append_history(row)
        self.tracker.log({name: value for name, value in row.items() if name != "step"}, row["step"])
        if dev := {name.removeprefix("dev/"): value for name, value in row.items() if name.startswith("dev/")}:
            self.role.watch(row["step"], dev)

    def _untrained(self) -> Mapping[str, float | None]:
        """Metrics of the encoder before training, computed once for all runs that start from it."""
        key = [
            weights_digest(self.encoder),
            self.data.fingerprint,
            self.split,
            self.precision,
            asdict(self.config.encoder),
            asdict(self.config.eval),
            asdict(self.config.index),
        ]
        known = Untrained(self.config.root, key)
        metrics = known.read()
        if metrics is None:
            metrics = self._evaluate("evaluate untrained", start=True).metrics
            known.write(metrics)
        return metrics

    def _evaluate(self, name: str, start: bool = False) -> Retrieval:
        """Encode the split's queries and the corpus, search both ways, measure.

        What the encoder makes of texts before training (``start``) is kept, for miners and for the next run.
        """
        split, corpus = self.data.splits[self.split], np.arange(self.data.corpus_size)
        if self.config.eval.max_corpus is not None:
            split, corpus = bounded(split, len(split), self.config.eval.max_corpus, len(corpus))
        texts, seconds = len(split) + len(corpus), 0.0
        vectors = []
        with self.display.task(name, texts) as advance:
            for tokens, rows in ((self.queries, split.queries), (self.passages, corpus)):
                began = perf_counter()
                if start:
                    reader = Reader(self.encoder, self.queries, self.passages, self.precision)
                    kept, cost = embed(reader, tokens, np.unique(rows), cache_dir(), lambda *_: nullcontext(advance))
                    vectors.append(kept.take(rows))
                    seconds += cost.seconds
                else:
                    vectors.append(encode(self.encoder, tokens, self.precision, rows, advance))
                    seconds += perf_counter() - began
        self.cost |= {"encode_s": seconds, "texts_per_s": texts / seconds}
        parts = {name: rows for name, (of, rows) in self.data.parts.items() if of == self.split}
        with self.display.task("search"):
            found = evaluate(
                vectors[0],
                vectors[1],
                split,
                parts,
                self.config.eval,
                self.config.index,
                str(self.device),
                self.config.seed,
            )
        for column in ("passages", "exact/passages"):
            found.ranks[column] = [corpus[ids] for ids in found.ranks[column]]
        return found

    def _costs(self, done: Trained, result: Retrieval) -> None:
        self.cost |= {
            "train_s": done.seconds,
            "mine_s": done.mined.seconds,
            "index_s": result.index_s,
            "search_s": result.search_s,
            "exact_s": result.exact_s,
            "pairs_per_s": done.pairs / done.seconds if done.seconds else None,
            "examples": float(done.pairs),
            "texts_encoded": float(done.texts + done.mined.texts),
            "mine_texts": float(done.mined.texts),
            "peak_memory_mb": peak_memory_mb(str(self.device)),
        }

    def _recall_file(self, result: Retrieval) -> None:
        from bench.evaluate.recall_file import write_file

        ranks, data = result.ranks, self.data
        queries = [data.queries[query] for query in ranks["query"]]
        ids, scores = np.stack(ranks["passages"].tolist()), np.stack(ranks["scores"].tolist())
        path = self.directory.path / "recall_result.txt"
        with refusals(path):
            write_file(path, queries, data.passages, ids, scores)

    def record(self, identity: str, status: str, error: str | None = None) -> Record:
        """The record as far as the run has come."""
        config, data = self.config, self.data
        knobs = dict(flat(asdict(config.strategy)))
        return Record(
            run_id=identity,
            strategy=config.strategy.name,
            knobs=knobs,
            data={"name": data.name, "fingerprint": data.fingerprint, "counts": data.counts},
            encoder=asdict(config.encoder),
            seed=config.seed,
            status=status,  # type: ignore[arg-type]
            command=self.command,
            config=config.tree(),
            split=self.split,
            started=self.started,
            finished=now(),
            metrics=self.metrics,
            baseline_metrics=self.baseline,
            cost=self.cost,
            environment={**environment(str(self.device)), "precision": self.precision},
            selection=self.selection,
            training=self.training,
            error=error,
        )


def _weights(start: str, config: RunConfig) -> Path:
    """The directory that ``train.init_from`` names: a run's weights, or any directory.

    Raises :class:`UserError` when it is not there, or when the run's encoder is not the one that is asked
    for: the record would name an encoder that was not trained.
    """
    run = RunDirectory(config.root, start)
    if not run.model.is_dir():
        if not Path(start).is_dir():
            raise UserError(f"train.init_from={start}: neither a finished run in {config.root} nor a directory")
        return Path(start)
    recorded = run.read_record().encoder
    for key in ("name", "layers", "output_dim"):
        value = getattr(config.encoder, key)
        if canonical(recorded[key]) != canonical(value):
            raise UserError(
                f"train.init_from={start}: that run has encoder.{key}={recorded[key]}, this one {value}; "
                "give the same encoder"
            )
    return run.model


class _Dev:
    """The evaluation while training: some dev queries against a bounded corpus, by exact search."""

    def __init__(self, job: Job, dev: Split) -> None:
        self.job = job
        limits = job.config.train
        self.split, self.corpus = bounded(dev, limits.eval_queries, limits.eval_corpus, job.data.corpus_size)

    def __call__(self) -> dict[str, float]:
        job = self.job
        with job.display.task("dev", len(self.split) + len(self.corpus)) as advance:
            queries = encode(job.encoder, job.queries, job.precision, self.split.queries, advance)
            corpus = encode(job.encoder, job.passages, job.precision, self.corpus, advance)
        return evaluate(
            queries, corpus, self.split, {}, job.config.eval, job.config.index, str(job.device), hnsw=False
        ).metrics


def _as_table(worst: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The hardest queries, each with what came first instead."""
    columns = ["query", "rank", "retrieved", "score"]
    rows = [[w["query"], w["rank"], w["retrieved"][0]["text"], w["retrieved"][0]["score"]] for w in worst]
    return pd.DataFrame(rows, columns=columns).astype({"rank": "Int64"})
