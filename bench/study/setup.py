"""From a study's name and the overrides of a command line to its result."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bench.compare.comparison import compare
from bench.compare.effects import effects
from bench.compare.per_query import of_runs
from bench.config.overrides import PERSONAL, for_shell
from bench.config.run import RunConfig
from bench.errors import UserError, nearest
from bench.evaluate import evaluation_kind
from bench.record.serialize import canonical
from bench.run.acting import step_limits
from bench.run.lifecycle import check_training, measured_on
from bench.study.options import Options
from bench.study.result import write
from bench.study.runner import StudyRunner
from bench.study.services import Services
from bench.study.spec import as_overrides, keys_of, known_studies, merged
from bench.study.storage import open_storage
from strategies import find
from studies.base import Dimension, StudySpec

_ENDS = ("budget.", "train.max_steps", "train.stage_steps", "train.epochs")
_NO_PART = ("runs_dir=", "track=", "keep=", "mining.", "device=", "train.save_every=", "train.log_every=")


def run_study(name: str, given: Sequence[str], options: Options, services: Services) -> tuple[Path, dict[str, Any]]:
    """Carry out the study ``name`` with the overrides ``given``; returns the directory of its result, and the result.

    Raises :class:`UserError` for invalid settings, before anything is trained.
    """
    spec, base = _asked(name, given, options)
    configs, varied = _checked(name, spec, base, given, services)
    data = measured_on(services.load(configs[0].data), configs[0].eval.data, services.load)
    for config, dimensions in zip(configs, varied, strict=True):
        check_training(config, data, {dimension.key for dimension in dimensions})
    kind = evaluation_kind(data)
    selection, headline = kind.selected_by(configs[0].eval), kind.schema.headline
    spec = replace(spec, metric=spec.metric or selection, report=spec.report or headline)
    if spec.protocol == "search" and "dev" not in kind.splits(data):
        raise UserError(f"study {name} selects on dev, and data set {data.name} has no dev split")
    part = [word for word in base if not word.startswith(_NO_PART)]
    how = [spec.seeds, spec.protocol, spec.metric, spec.judged, options.sampler]
    what = [[_identity(dimension) for dimension in dimensions] for dimensions in varied]
    identity = canonical([spec.strategies, what, sorted(part), how, data.fingerprint])
    digits = hashlib.sha256(identity.encode()).hexdigest()[:8]
    title = f"{name}-{re.sub(r'[^A-Za-z0-9_.]+', '_', data.name)[:24]}-{digits}"
    root = configs[0].root
    directory = root / "studies" / title
    kept = open_storage(options.storage, directory)
    arms, records = StudyRunner(directory, spec, tuple(base), varied, kept, services, data, options).carry_out()
    per_query = of_runs(root)
    comparison = compare(records, per_query, spec.report, spec.differs)
    choices = {d.key: d.choices for dimensions in varied for d in dimensions}
    grid = spec.protocol == "grid" and len(choices) > 1  # of one setting the comparison says the same
    found = effects(records, choices, per_query, comparison.metric) if grid else []
    own = [word for word in given if not word.startswith(PERSONAL)]
    command = " ".join(["bench study", name, *options.told(), *map(for_shell, own)])
    return directory, write(directory, spec, title, command, arms, comparison, found)


def _checked(
    name: str,
    spec: StudySpec,
    base: Sequence[str],
    given: Sequence[str],
    services: Services,
) -> tuple[list[RunConfig], list[tuple[Dimension, ...]]]:
    """For each strategy its configuration and its varying dimensions.

    Raises :class:`UserError` for an invalid setting and for one that the study varies.
    """
    configs, varied = [], []
    for entry in spec.strategies:
        strategy, *own = entry.split()
        start = merged([f"strategy={strategy}", *own], base)
        configs.append(services.resolve(start))
        try:
            dimensions = spec.dimensions(find(strategy), keys_of([*base, *own]), step_limits(configs[-1]))
        except ValueError as error:
            raise UserError(f"study {name}: {error}") from error
        keys = {dimension.key for dimension in dimensions}
        if fixed := [word for word in given if word.partition("=")[0] in keys]:
            raise UserError(f"{fixed[0]} cannot be set: study {name} varies it")
        for dimension in dimensions:
            _refuse_impossible(services, start, dimension)
        varied.append(dimensions)
    return configs, varied


def _identity(dimension: Dimension) -> dict[str, Any]:
    """What is hashed of a dimension: a field that is newer than studies in use counts where it is set."""
    return {name: value for name, value in asdict(dimension).items() if name != "optional" or value}


def _refuse_impossible(services: Services, start: Sequence[str], dimension: Dimension) -> None:
    """Raise :class:`UserError` when no value of the dimension is valid."""
    refused = None
    for value in dimension.choices or (dimension.low, dimension.high):
        try:
            services.resolve([*start, *as_overrides({dimension.key: value})])
        except UserError as error:
            refused = refused or error
        else:
            return
    if refused:
        raise refused


def _asked(name: str, given: Sequence[str], options: Options) -> tuple[StudySpec, list[str]]:
    """The study with the options of the command line, and the overrides of every run."""
    known = known_studies()
    if name not in known:
        raise UserError(f"there is no study {name!r}{nearest(name, known)}")
    spec = known[name]
    chosen = next((word.partition("=")[2].split(",") for word in given if word.startswith("strategy=")), None)
    if chosen is not None:
        if "" in chosen or len(set(chosen)) < len(chosen):
            raise UserError(f"strategy={','.join(chosen)} must name at least one strategy, each once")
        own = {strategy.split()[0]: strategy for strategy in spec.strategies}
        spec = replace(spec, strategies=tuple(own.get(strategy, strategy) for strategy in chosen))
    if options.trials is not None:
        if spec.protocol == "grid":
            raise UserError(f"study {name} tries every combination; trials= is only for a search")
        spec = replace(spec, trials=options.trials)
    if options.seeds is not None:
        try:
            spec = replace(spec, seeds=tuple(range(1, options.seeds + 1)))
        except ValueError as error:
            raise UserError(f"seeds={options.seeds}: {error}") from error
    words = [word for word in given if not word.startswith("strategy=")]
    keys = keys_of(words)
    if "seed" in keys:
        raise UserError("seed= is set by the study; use seeds= for the number of seeds")
    ends = any(key.startswith(_ENDS) for key in keys)
    hold = [w for w in spec.hold if w.partition("=")[0] not in keys and not (ends and w.startswith(_ENDS))]
    return spec, [*hold, *words]
