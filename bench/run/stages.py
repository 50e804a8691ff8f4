"""Training a run: the stages of its strategy in order, each starting from the weights of the one before."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from bench.data.pairs import Pairs
from bench.data.sampler import steps_per_epoch
from bench.data.tokens import Tokens, tokenize
from bench.errors import UserError
from bench.evaluate import Evaluation, evaluation_kind
from bench.model.config import EncoderConfig
from bench.model.embedding import Cost, encode
from bench.model.language import LanguageModelHead, head_folder, load_head
from bench.model.prepared import Prepared
from bench.model.presets import build
from bench.model.trial import CausalModel
from bench.negatives import NegativesContext, clusters_of, negative_sampler, view
from bench.record.store import RunDirectory
from bench.run.context import ActiveRun
from bench.run.truncation import tokens_of
from bench.train.budget import Plan
from bench.train.config import TrainConfig
from bench.train.diagnostics import invalid
from bench.train.example_set import ExampleSet
from bench.train.examples import Texts, examples_of
from bench.train.learner import Learner
from bench.train.state import Progress
from bench.train.step import Objective
from bench.train.trainer import Conditions, Hooks, Trainer, of_stage
from strategies import Strategy
from strategies.examples import LabelledPairs
from strategies.negatives import Guide

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """The result of training over all stages; the prepared encoder has the last stage's best weights.

    ``pairs``, ``texts`` and ``seconds`` are those of the steps; ``mined`` is the further cost of mining and guides.
    ``language`` is the language-model head, if the last stage trained one. ``invalid`` says why what a stage declares
    never acted; None where everything did.
    """

    steps: int = 0
    pairs: int = 0
    texts: int = 0
    seconds: float = 0.0
    mined: Cost = field(default_factory=Cost)
    selection: dict[str, Any] = field(default_factory=dict)
    telemetry: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    language: LanguageModelHead | None = None
    invalid: str | None = None

    def then(
        self, done: Progress, before: Cost, stage: Strategy, name: str, language: LanguageModelHead | None
    ) -> Trained:
        """The result with a further ``stage`` added, which gave ``done`` and cost ``before`` its first step.

        ``name`` is that of one of several stages, ``language`` its language-model head.
        """
        kept = done.step if done.best_step is None else done.best_step
        why, prefix = invalid(stage, done.means, kept) if done.step else None, name and f"{name}/"
        return replace(
            self,
            steps=self.steps + done.step,
            pairs=self.pairs + done.pairs,
            texts=self.texts + done.texts,
            seconds=self.seconds + done.seconds,
            mined=self.mined + before + Cost(done.mine_s, done.mine_texts),
            telemetry={**self.telemetry, **{f"{prefix}{key}": value for key, value in done.means.items()}},
            warnings=(*self.warnings, *(of_stage(name, warning) for warning in done.warnings)),
            language=language,
            invalid=self.invalid or (why and of_stage(name, why)),
        )


def train(run: ActiveRun, prepared: Prepared, evaluation: Evaluation) -> Trained:
    """Train every stage, from its checkpoint if there is one; the encoder then has the last stage's best weights.

    Raises the errors of :meth:`bench.train.trainer.Trainer.fit`.
    """
    strategy, on_dev = run.config.strategy, _on_dev(run, prepared)
    selected_by = evaluation.selected_by(run.config.eval)
    trained, before, done = Trained(language=_started_with(run, prepared)), 0, Progress()
    for number, (name, stage) in enumerate(zip(strategy.stage_names(), strategy.stages(), strict=True)):
        before, started_at = trained.steps, done.best_value
        done, cost, language = _Stage(run, prepared, number, stage, trained, on_dev, selected_by, name).train()
        trained = trained.then(done, cost, stage, name, language)
        if started_at is not None and done.best_value is not None and done.best_value < started_at:
            found = (
                f"its best {selected_by} on dev is {done.best_value:.2f}, below the {started_at:.2f} that it started "
                "from; the run keeps the weights of this stage"
            )
            trained = replace(trained, warnings=(*trained.warnings, of_stage(name, found)))
            log.warning(trained.warnings[-1])
    if trained.invalid:
        log.warning("this run is invalid, and no comparison includes it: %s", trained.invalid)
    chosen = done.best_step is not None
    selection = {
        "split": "dev" if chosen else None,
        "metric": selected_by if chosen else None,
        "step": before + (done.best_step if done.best_step is not None else done.step),
        "value": done.best_value,
        "steps": trained.steps,
    }
    return replace(trained, selection=selection)


def _started_with(run: ActiveRun, prepared: Prepared) -> LanguageModelHead | None:
    """The language-model head beside the weights that ``train.init_from`` names, if there is one."""
    start = run.config.start
    return None if start is None else load_head(head_folder(start), prepared.encoder)


def _on_dev(run: ActiveRun, prepared: Prepared) -> Callable[[], dict[str, float]] | None:
    """The evaluation during training: some dev queries against a smaller corpus; None where it is never made."""
    config, data = run.config, prepared.data
    if "dev" not in evaluation_kind(data).splits(data) or not config.train.trains or config.train.eval_every == 0:
        return None
    device, limits = str(prepared.encoder.device), config.train
    settings = replace(config.eval, max_corpus=None, recall_file=False)  # the file is of the final split
    evaluation = evaluation_kind(data).of(data, "dev", settings, config.index, device, config.seed)
    dev = evaluation.subset(limits.eval_queries, limits.eval_corpus)
    rows = dev.texts()

    def measure() -> dict[str, float]:
        encoder, precision, world = prepared.encoder, prepared.precision, run.world
        with run.display.task("dev", len(rows)) as advance:
            queries = encode(encoder, prepared.queries, precision, rows.queries, advance, world=world)
            passages = encode(encoder, prepared.passages, precision, rows.passages, advance, world=world)
        return dict(dev.measure(queries, passages).metrics) if world.first else {}

    return measure


@dataclass(frozen=True)
class _Stage:
    """One stage to be trained after ``so_far``. ``on_dev`` gives dev metrics, of which ``selection`` decides.

    ``name`` is empty where it is the only stage.
    """

    run: ActiveRun
    prepared: Prepared
    number: int
    strategy: Strategy
    so_far: Trained
    on_dev: Callable[[], dict[str, float]] | None
    selection: str
    name: str

    def train(self) -> tuple[Progress, Cost, LanguageModelHead | None]:
        """Train the stage; returns its result, the cost before its first step, and its language-model head."""
        if not self.run.config.train.trains:
            return Progress(), Cost(), self.so_far.language
        config, prepared = self.run.config, self.prepared
        examples = self._examples(prepared)
        place = self.run.directory.stage(self.number)
        limits, task, pairs = config.mining, self.run.display.task, Pairs.of(prepared.data)
        context = NegativesContext(
            prepared.data, pairs, config.seed, self._encoder, place, self.run.cache, limits, task, self.run.world
        )
        sampler = negative_sampler(self.strategy.negatives, context)
        cluster, clustering = clusters_of(self.strategy.batches, context)
        guide, cost = None, sampler.cost + clustering
        if asked := self.strategy.guide or self._judge():
            guide = view(asked, context, lambda reader: self._examples(reader).sides(), sampler.reach())
            cost += guide.cost if self.strategy.guide is not None else Cost()
        learner = Learner.of(prepared.encoder, self.strategy, config.seed, self.so_far.language)
        trainer = Trainer(
            learner,
            Objective(self.strategy, examples, sampler, guide, cluster),
            self._settings(len(examples)),
            Conditions(config.seed, prepared.precision, place, self.run.world, self.name, self.so_far.steps),
            self._hooks(),
            self._plan(cost) if config.budget.declared else None,
        )
        return trainer.fit(), cost, learner.language

    def _hooks(self) -> Hooks:
        before, display = self.so_far.steps, self.run.display
        return Hooks(
            event=lambda row: _tell(self.run, {**row, "step": before + row["step"]}),
            progress=lambda step, total, rate: display.training(before + step, before + total, rate),
            evaluate=self.on_dev,
            selection=self.selection,
            resumed=partial(self._resumed, before),
        )

    def _plan(self, cost: Cost) -> Plan:
        """The plan of the stage, whose mining and guides already cost ``cost``."""
        so_far, config = self.so_far, self.run.config
        spent = Progress(
            step=so_far.steps,
            texts=so_far.texts,
            seconds=so_far.seconds,
            mine_s=so_far.mined.seconds + cost.seconds,
            mine_texts=so_far.mined.texts + cost.texts,
        )
        part = (self.number + 1) / len(config.strategy.stages())
        try:
            return config.budget.plan(part, config.train.batch_size, spent)
        except UserError as error:
            raise UserError(of_stage(self.name, str(error))) from error

    def _judge(self) -> Guide | None:
        """Who estimates false negatives of a stage on labelled pairs; it is no part of what the run costs."""
        judge = self.run.config.mining.judge
        return Guide(judge) if judge and isinstance(self.strategy.examples, LabelledPairs) else None

    def _resumed(self, before: int, step: int) -> None:
        """Go on from a step: tell the tracker the stage's history again, and forget what came later.

        A stage after which another one goes on keeps that one's rows.
        """
        directory = self.run.directory
        goes_on = not directory.begun(self.number + 1)
        if goes_on:
            directory.truncate_history(before + step if before + step else -1)
        for row in directory.history() if step else ():
            if before < row.get("step", before) <= before + step:
                _track(self.run, row)
        if goes_on and step:
            log.info("resuming from step %d", before + step)

    def _examples(self, reader: Prepared) -> ExampleSet:
        """The examples of the stage in the tokens of ``reader``, the encoder in training or a guide."""
        encoder, reading = reader.encoder, reader.encoder.config.passage

        def cut(texts: Sequence[str]) -> Tokens:
            return tokenize(texts, encoder.tokenizer, reading.tokens, reading.prefix, self.run.cache)

        seed = self.run.config.seed
        texts = Texts(reader.data, reader.queries, reader.passages, cut, reading.tokens, seed, encoder)
        return examples_of(self.strategy.examples, texts)

    def _settings(self, examples: int) -> TrainConfig:
        """The training settings of the stage: with ``stage_steps``, as many epochs as its steps need."""
        train = self.run.config.train
        if train.stage_steps is None:
            return train
        steps = train.stage_steps[self.number]
        epoch = steps_per_epoch(examples, train.batch_size)
        return replace(train, epochs=-(-steps // max(1, epoch)), max_steps=steps)

    def _encoder(self, name: str) -> Prepared:
        """The encoder of a name, or of the run of an id, with the texts it reads.

        Another encoder than this run's gets its text lengths, and that of a run its own prefixes.
        ``encoder.causal`` is of the run's own: another encoder may be causal or not.
        """
        if name in ("start", "current"):
            return self.prepared
        own, data = self.prepared.encoder.config, self.prepared.data
        settings = EncoderConfig(
            name,
            max_query_tokens=own.query.tokens,
            max_passage_tokens=own.passage.tokens,
            trust_remote_code=own.trust_remote_code,
        )
        run = RunDirectory(self.run.config.root, name)
        if run.model.is_dir() and run.finished:
            settings = replace(settings, name=str(run.model))
        device, seed = self.prepared.encoder.device, self.run.config.seed
        make = partial(build, texts=data.vocabulary_texts, device=device, seed=seed)
        try:
            try:
                encoder = make(settings)
            except CausalModel:
                log.info("the encoder %s, which the run only asks, is causal", name)
                encoder = make(replace(settings, causal=True))
            encoder.check_lengths()
        except UserError as error:
            raise UserError(
                f"{self.run.config.strategy.name} or mining.judge asks for the encoder {name!r}, which is no finished "
                f"run in {self.run.config.root}: {error}"
            ) from error
        queries, passages = tokens_of(data, encoder, self.run.cache)
        return Prepared(data, encoder, queries, passages, self.prepared.precision)


def _tell(run: ActiveRun, row: dict[str, Any]) -> None:
    """Pass a history row to the directory and the tracker, and a dev evaluation also to the watcher."""
    run.directory.append_history(row)
    _track(run, row)
    if dev := {name.removeprefix("dev/"): value for name, value in row.items() if name.startswith("dev/")}:
        run.context.watch(row["step"], dev)


def _track(run: ActiveRun, row: Mapping[str, Any]) -> None:
    run.tracker.log({name: value for name, value in row.items() if name != "step"}, row["step"])
