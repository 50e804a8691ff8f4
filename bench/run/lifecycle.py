"""The life cycle of one run: skip it if finished, resume or start it, and record how it ended."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from bench import cores
from bench.cache import Cache, cache_dir
from bench.config.run import RunConfig
from bench.data import DataConfig, DataSet
from bench.data import load as load_data
from bench.data.tasks import with_tasks
from bench.errors import UserError, nearest
from bench.evaluate import Evaluation, evaluation_kind
from bench.model.described import describe_hub
from bench.model.precision import resolve_device
from bench.negatives import check as check_negatives
from bench.phases import reset_peak_memory
from bench.progress import Display
from bench.record.environment import environment
from bench.record.record import Record, now
from bench.record.store import RunDirectory
from bench.run.acting import check_mechanism
from bench.run.context import STANDALONE, ActiveRun, Pruned, RunContext
from bench.run.pipeline import carry_out, evaluation_of, prepare, start, work
from bench.track import make_tracker
from bench.track.base import NullTracker
from bench.world import World


@dataclass(frozen=True)
class Outcome:
    """The record of a run, and whether it was there already."""

    record: Record
    path: Path
    skipped: bool = False


def run(
    config: RunConfig,
    command: str,
    *,
    force: bool = False,
    display: Display | None = None,
    load: Callable[[DataConfig], DataSet] = load_data,
    context: RunContext = STANDALONE,
    wait: bool = True,
    world: World | None = None,
) -> Outcome:
    """Carry out one run, resume an interrupted one, or skip a finished one.

    ``command`` is kept in the record as what repeats it; ``force`` runs a finished one again; ``load`` may keep the
    data for the next run. All of ``world`` train and encode; the first rank alone measures and writes. A run that
    another process is at is waited for; without ``wait`` it is a :class:`RunLocked`. Raises :class:`UserError` for all
    that the person can mend; once the encoder is loaded, the record then says ``failed``, and why.
    """
    device, world = resolve_device(config.device), world or World()
    cores.use(config.threads)
    with display or Display() as shown:
        with shown.task("data"):
            data = measured_on(load(config.data), config.eval.data, load)
        split = _settled(config, data)
        evaluation = evaluation_of(config, data, split, device)
        check_training(config, data)
        if not world.first:
            return _follow(config, data, evaluation, device, shown, world)
        with RunDirectory.open(config.root, config.run_id(data.fingerprint), wait) as directory:
            if directory.finished and not force:
                world.broadcast(True)
                directory.drop_checkpoints()  # a kill may have come between the record and this
                return Outcome(directory.read_record(), directory.path, skipped=True)
            tracker = make_tracker(config.track, config.root)
            active = ActiveRun(config, directory, tracker, shown, Cache(cache_dir()), context, world)
            begun = start(config, command, data, split, evaluation)
            reset_peak_memory(str(device))
            with _explain_memory(config, device):
                prepared = prepare(active, data, device)  # an encoder that is not there leaves everything as it is
            if force:
                directory.clear()
            world.broadcast(False)
            ok = False
            try:
                _announce(active, begun, data)
                with _explain_memory(config, device):
                    record = carry_out(active, begun, prepared, evaluation)
                ok = True
            except Pruned:
                directory.write_record(_ended(begun, "pruned", device))
                directory.drop_checkpoints()
                raise
            except Exception as error:
                directory.write_record(_ended(begun, "failed", device, str(error)))
                raise
            finally:
                tracker.finish(ok)
            world.broadcast(None)
    return Outcome(record, directory.path)


def _follow(
    config: RunConfig, data: DataSet, evaluation: Evaluation, device: torch.device, display: Display, world: World
) -> Outcome:
    """Train and encode as a rank that is not the first, and wait until the first one has written the record."""
    directory = RunDirectory(config.root, config.run_id(data.fingerprint))
    skipped = world.broadcast(False)
    if not skipped:
        run = ActiveRun(config, directory, NullTracker(), display, Cache(cache_dir()), world=world)
        with _explain_memory(config, device):
            work(run, prepare(run, data, device), evaluation)
        world.broadcast(None)
    return Outcome(directory.read_record(), directory.path, skipped)


def directory_of(config: RunConfig, load: Callable[[DataConfig], DataSet] = load_data) -> RunDirectory:
    """Where a run is, or will be, once its data was read and its settings were found to fit; nothing is written.

    The device that it will train on need not be there. Raises :class:`UserError` as :func:`run` does.
    """
    data = fitting_data(config, load)
    describe_hub(config.encoder.name)
    return RunDirectory(config.root, config.run_id(data.fingerprint))


def fitting_data(config: RunConfig, load: Callable[[DataConfig], DataSet] = load_data) -> DataSet:
    """The data of a run, once its settings were found to fit it; no encoder is looked for.

    Raises :class:`UserError` as :func:`run` does.
    """
    data = measured_on(load(config.data), config.eval.data, load)
    _final_split(data, config.eval.split)
    check_training(config, data)
    return data


def _settled(config: RunConfig, data: DataSet) -> str:
    """Know what the encoder's hub says of it, on which a run's id depends; the split that is reported."""
    describe_hub(config.encoder.name)
    return _final_split(data, config.eval.split)


def measured_on(data: DataSet, names: str | None, load: Callable[[DataConfig], DataSet]) -> DataSet:
    """``data`` with the tasks of the data sets that ``eval.data`` names, if any."""
    if names is None:
        return data
    return with_tasks(data, (load(DataConfig(name.strip())) for name in names.split(",")))


@contextmanager
def _explain_memory(config: RunConfig, device: torch.device) -> Iterator[None]:
    """Turn PyTorch's error of a full device into a :class:`UserError` that says which setting needs less."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"{device} ran out of memory; set train.micro_batch (texts at once, now "
            f"{config.train.micro_batch or 'all of a batch'}), which leaves the result as it is"
        ) from error


def _announce(run: ActiveRun, begun: Record, data: DataSet) -> None:
    """Write the configuration, and start the tracker's run."""
    config, context = run.config, run.context
    run.directory.write_config(config.tree())
    group, tags = context.group or config.strategy.name, (data.name, config.encoder.name)
    run.tracker.start(begun.run_id, config.tree(), group, tags, context.job_type)
    run.tracker.data(data.name, {"fingerprint": data.fingerprint, **data.counts})


def _ended(begun: Record, status: str, device: torch.device, error: str | None = None) -> Record:
    """The record of a run without a result."""
    return replace(
        begun,
        status=status,  # type: ignore[arg-type]
        finished=now(),
        environment=environment(str(device)),
        error=error,
    )


def check_training(config: RunConfig, data: DataSet, varied: Collection[str] = ()) -> None:
    """Raise :class:`UserError`, before anything is encoded, when a run that trains lacks what its strategy needs.

    ``varied`` are the keys that a study sets in each run.
    """
    if config.train.trains:
        check_negatives(config.strategy, data)
        check_mechanism(config, data, varied)
        if config.train.patience is not None and "dev" not in evaluation_kind(data).splits(data):
            raise UserError(f"train.patience={config.train.patience}: data set {data.name} has no dev split to stop by")


def _final_split(data: DataSet, wanted: str) -> str:
    """The split that is reported: the requested one, or dev where there is no test split."""
    known = evaluation_kind(data).splits(data)
    if wanted == "test" and "test" not in known and "dev" in known:
        return "dev"
    if wanted not in known:
        near = nearest(wanted, known)
        if set(known) == {"train"}:
            near = (
                "; eval.split=train measures on the training queries; a file of at least 20 queries that is given as "
                "data=FILE is cut into train, dev and test"
            )
        raise UserError(f"eval.split={wanted}: data set {data.name} has no such split{near}")
    return wanted
