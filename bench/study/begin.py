"""From a study's name and the words of a command line to its result."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bench.compare.comparison import compare
from bench.compare.ranks import of_runs
from bench.data import DataConfig, DataSet
from bench.errors import UserError, nearest
from bench.negatives import check
from bench.record.plain import canonical
from bench.run import RunConfig
from bench.study.carry import Execute, Study, merged
from bench.study.options import Options
from bench.study.question import Dimension, Question, keys_of, words
from bench.study.result import write
from bench.study.storage import open_storage
from strategies import find
from studies import questions

_ENDS = ("budget.", "train.max_steps", "train.stage_steps", "train.epochs")
_NO_PART = ("runs_dir=", "track=", "mining.", "device=", "train.save_every=", "train.log_every=")


def begin(
    name: str,
    given: Sequence[str],
    options: Options,
    resolve: Callable[[Sequence[str]], RunConfig],
    execute: Execute,
    load: Callable[[DataConfig], DataSet],
    expect: Callable[[int], None] = lambda runs: None,
) -> tuple[Path, dict[str, Any]]:
    """Carry out the study ``name`` with the overrides ``given``; the directory of its result, and the result.

    ``expect`` is told how many runs are left to do, a grid's counted twice, as trials and as final runs. Raises
    :class:`UserError` for what cannot be, before anything is trained.
    """
    question, base = _asked(name, given, options)
    configs, varied = _checked(name, question, base, given, resolve)
    data = load(configs[0].data)
    for config in configs:
        check(config.strategy, data)
    if question.protocol == "search" and "dev" not in data.splits:
        raise UserError(f"study {name} selects on dev, and data set {data.name} has no dev split")
    part = [word for word in base if not word.startswith(_NO_PART)]
    how = [question.seeds, question.protocol, question.metric, question.judged, options.sampler]
    what = [[asdict(dimension) for dimension in dimensions] for dimensions in varied]
    identity = canonical([question.strategies, what, sorted(part), how, data.fingerprint])
    digits = hashlib.sha256(identity.encode()).hexdigest()[:8]
    title = f"{name}-{re.sub(r'[^A-Za-z0-9_.]+', '_', data.name)[:24]}-{digits}"
    root = configs[0].root
    directory = root / "studies" / title
    kept = open_storage(options.storage, directory)
    study = Study(title, question, tuple(base), kept, resolve, execute, data, options, expect)
    arms, records = study.carry_out()
    comparison = compare(records, of_runs(root), question.report, question.differs)
    command = " ".join(["bench study", name, *options.told(), *given])
    return directory, write(directory, question, title, command, arms, comparison)


def _checked(
    name: str,
    question: Question,
    base: Sequence[str],
    given: Sequence[str],
    resolve: Callable[[Sequence[str]], RunConfig],
) -> tuple[list[RunConfig], list[tuple[Dimension, ...]]]:
    """Of each strategy its configuration and what varies of it.

    Raises :class:`UserError` for a setting that cannot be and for one that is the study's to vary.
    """
    configs, varied = [], []
    for entry in question.strategies:
        strategy, *own = entry.split()
        start = merged([f"strategy={strategy}", *own], base)
        configs.append(resolve(start))
        try:
            dimensions = question.dimensions(find(strategy), keys_of([*base, *own]))
        except ValueError as error:
            raise UserError(f"study {name}: {error}") from error
        keys = {dimension.key for dimension in dimensions}
        if fixed := [word for word in given if word.partition("=")[0] in keys]:
            raise UserError(f"{fixed[0]}: that is what study {name} varies")
        for dimension in dimensions:
            _refuse_impossible(resolve, start, dimension)
        varied.append(dimensions)
    return configs, varied


def _refuse_impossible(
    resolve: Callable[[Sequence[str]], RunConfig], start: Sequence[str], dimension: Dimension
) -> None:
    """Raise :class:`UserError` when no value of the dimension can be set at all."""
    refused = None
    for value in dimension.choices or (dimension.low, dimension.high):
        try:
            resolve([*start, *words({dimension.key: value})])
        except UserError as error:
            refused = refused or error
        else:
            return
    if refused:
        raise refused


def _asked(name: str, given: Sequence[str], options: Options) -> tuple[Question, list[str]]:
    """The question as the command line has it, and the overrides of every run."""
    known = questions()
    if name not in known:
        raise UserError(f"there is no study {name!r}{nearest(name, known)}")
    question = known[name]
    chosen = next((word.partition("=")[2].split(",") for word in given if word.startswith("strategy=")), None)
    if chosen is not None:
        if "" in chosen or len(set(chosen)) < len(chosen):
            raise UserError(f"strategy={','.join(chosen)} must name one or more strategies, each once")
        own = {strategy.split()[0]: strategy for strategy in question.strategies}
        question = replace(question, strategies=tuple(own.get(strategy, strategy) for strategy in chosen))
    if options.trials is not None:
        if question.protocol == "grid":
            raise UserError(f"study {name} tries every combination; trials= is for a search")
        question = replace(question, trials=options.trials)
    if options.seeds is not None:
        try:
            question = replace(question, seeds=tuple(range(1, options.seeds + 1)))
        except ValueError as error:
            raise UserError(f"seeds={options.seeds}: {error}") from error
    words = [word for word in given if not word.startswith("strategy=")]
    keys = keys_of(words)
    if "seed" in keys:
        raise UserError("seed= is the study's to choose")
    ends = any(key.startswith(_ENDS) for key in keys)
    hold = [w for w in question.hold if w.partition("=")[0] not in keys and not (ends and w.startswith(_ENDS))]
    return question, [*hold, *words]
