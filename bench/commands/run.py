"""``bench run``: train and evaluate one run or a sweep, show settings, or repeat a recorded run."""

from __future__ import annotations

import logging
import sys
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from time import monotonic
from typing import TYPE_CHECKING

from rich.table import Table

from bench.commands.output import console, note_finished, show_logs
from bench.compare.seed_groups import differences, seed_groups
from bench.errors import UserError, message, short
from bench.record.record import Record

if TYPE_CHECKING:
    from bench.config.run import RunConfig
    from bench.data import DataConfig, DataSet
    from bench.run.lifecycle import Outcome

log = logging.getLogger(__name__)


def run_all(overrides: Sequence[str], force: bool = False) -> bool:
    """Carry out all runs of the overrides, show them and what they recommend; returns whether all succeeded.

    With ``devices=N`` they are carried out by so many processes, unless this is one of them.
    """
    from bench.train.processes import asked_for, join, leave

    overrides, devices = _with_devices(overrides, asked_for())
    if devices > 1 and asked_for() == 1:
        from bench.commands.launch import launch

        return launch([*overrides, *(["--force"] if force else [])], devices) == 0
    outcomes, failed = carry_out(overrides, force)
    if outcomes and join().first:
        from bench.commands.next_step import next_step, recommendation

        records, runs_dir = [outcome.record for outcome in outcomes], outcomes[0].path.parent
        show(records)
        sentence, commands = recommendation(records, runs_dir)
        if sentence:
            console().print(sentence)
        for line in [*commands, *(outcome.path for outcome in outcomes)]:
            print(line)
        if failed:
            print(f"runs that failed or were left out: {failed}; the reasons are above", file=sys.stderr)
        print(next_step(overrides, records, runs_dir), file=sys.stderr)
    leave()
    return failed == 0


def _with_devices(overrides: Sequence[str], started: int) -> tuple[Sequence[str], int]:
    """The overrides with the number of processes that train, and this number; ``started`` were started already.

    Raises :class:`UserError` for several numbers, and for another one than were started.
    """
    from bench.config.overrides import expand, resolve

    if not any(word.startswith("devices=") for word in overrides):
        return (overrides, 1) if started == 1 else ([*overrides, f"devices={started}"], started)
    wanted = {resolve(words).devices for words in expand(overrides)}
    if len(wanted) > 1:
        raise UserError(f"devices={','.join(map(str, sorted(wanted)))} is a sweep; give one number of processes")
    devices = wanted.pop()
    if started > 1 and devices != started:
        raise UserError(f"devices={devices}, but {started} processes were started; leave devices out")
    return overrides, devices


def carry_out(overrides: Sequence[str], force: bool = False) -> tuple[list[Outcome], int]:
    """Carry out all runs of the overrides; returns their outcomes and how many failed. A failure stops no other run.

    What does not fit its data fails before any other run of a sweep starts. A run that another process is at comes
    last: it is waited for, and only its record is left to show.
    """
    show_logs()
    from bench.config.overrides import command_line, expand, resolve
    from bench.data import load
    from bench.progress import Display, Suite
    from bench.record.store import RunLocked
    from bench.run.acting import check_mechanism
    from bench.run.lifecycle import run
    from bench.train.processes import join

    single = list(expand(overrides))
    configs = [resolve(words) for words in single]
    for config in configs:  # all are checked before any is run
        check_mechanism(config)
    world = join()
    if not world.first:
        logging.disable()
    if told := unequal_stages(configs):
        log.warning(told)
    load_once = lru_cache(maxsize=1)(load)
    outcomes: dict[int, Outcome] = {}
    labels = _labels(single, configs)
    unfit = _unfit(single, configs, load_once) if len(single) > 1 and world.size == 1 else set()
    suite = Suite(len(single) - len(unfit)) if len(single) > 1 else None
    failed, held, places = len(unfit), set[int](), deque(place for place in range(len(single)) if place not in unfit)
    while places:
        place = places.popleft()
        words, config, wait = single[place], configs[place], suite is None or place in held
        display, began = Display(f"{labels[place]}: " if suite else "", suite, quiet=not world.first), monotonic()
        try:
            outcome = run(
                config, command_line(words), force=force, display=display, load=load_once, wait=wait, world=world
            )
        except RunLocked:
            held.add(place)
            places.append(place)
            continue
        except Exception as error:
            if suite is None or world.size > 1:  # the others wait for this process
                raise
            failed += 1
            _tell(words, error)
            suite.finished(labels[place], "", None, monotonic() - began)
            continue
        outcomes[place] = outcome
        if suite and world.first:
            note_finished(suite, labels[place], outcome.record, None if outcome.skipped else monotonic() - began)
        if outcome.skipped and world.first:
            lost = config.keep != "none" and not (outcome.path / "model").is_dir()
            what = " without its weights" if lost else ""
            print(f"{outcome.record.run_id} is finished already{what}; --force runs it again", file=sys.stderr)
    return [outcomes[place] for place in sorted(outcomes)], failed


def unequal_stages(configs: Sequence[RunConfig]) -> str:
    """Why rows of a sweep will not be comparable: each stage trains for a whole length of its own; else nothing."""
    lengths = {c.strategy.name: len(c.strategy.stages()) for c in configs if c.each_stage_alone}
    if len(set(lengths.values())) < 2:
        return ""
    most, least = max(lengths, key=lengths.__getitem__), min(lengths, key=lengths.__getitem__)
    return (
        f"{most} trains longer than {least}, because train.epochs and train.max_steps are for each stage, and bench "
        "compare refuses rows of unequal budgets; give budget.steps=N or budget.texts=N for all, or compare with "
        "--allow budget"
    )


def _labels(single: Sequence[Sequence[str]], configs: Sequence[RunConfig]) -> list[str]:
    """For each run its strategy, what else varies, and its seed: ``in_batch lr=2e-4 seed 1``."""
    given = [dict(word.split("=", 1) for word in words) for words in single]
    own = [{k: v for k, v in words.items() if k not in ("strategy", "stages", "seed")} for words in given]
    varied = [f"{words} " if words else "" for words in differences(own)]
    return [f"{c.strategy.name} {words}seed {c.seed}" for c, words in zip(configs, varied, strict=True)]


def _unfit(
    single: Sequence[Sequence[str]], configs: Sequence[RunConfig], load: Callable[[DataConfig], DataSet]
) -> set[int]:
    """The places of the runs whose data is not there or lacks what they need; each is told why."""
    from bench.progress import Display
    from bench.run.lifecycle import fitting_data

    unfit = {}
    with Display() as shown, shown.task("data"):
        for place in sorted(range(len(configs)), key=lambda place: str(configs[place].data)):  # each set is read once
            try:
                fitting_data(configs[place], load)
            except Exception as error:
                unfit[place] = error
    for place in sorted(unfit):
        _tell(single[place], unfit[place])
    return set(unfit)


def _tell(words: Sequence[str], error: Exception) -> None:
    """Print why a run of a sweep failed: a message, or for a bug its traceback."""
    if (told := message(error)) is not None:
        print(f"bench: {' '.join(words)}: {told}", file=sys.stderr)
    else:
        print(f"bench: {' '.join(words)}:", file=sys.stderr)
        traceback.print_exception(error)


def show(records: Sequence[Record]) -> None:
    """Print the records as one table, a row of the untrained encoder before the runs that start from it."""
    heads = {name: head for record in records for name, head in record.evaluation_schema.columns.items()}
    columns = [name for name in heads if any(name in r.metrics for r in records)]
    first = records[0]
    title = f"{first.data['name']}, split {first.split}, percent"
    table = Table(title=title, title_justify="left", title_style="", box=None, pad_edge=False)
    table.add_column("strategy")
    table.add_column("seed", justify="right")
    for name in columns:
        table.add_column(heads[name], justify="right")
    table.add_column("train s", justify="right")
    shown: list[object] = []
    # of two runs that differ in nothing that counts, a group has the later one
    labels = {record.run_id: found.label for found in seed_groups(records) for record in found.records}
    several = any(record.baseline_metrics != first.baseline_metrics for record in records)
    for record in records:
        base = record.baseline_metrics
        if base is not None and base not in shown:
            shown.append(base)
            seed = str(record.seed) if several else ""
            table.add_row("before training", seed, *(_percent(base.get(c)) for c in columns), "")
        seconds = record.cost.get("train_s") or 0.0
        values = (_percent(record.metrics.get(c)) for c in columns)
        name = labels.get(record.run_id, record.strategy) + (" (invalid)" if record.invalid else "")
        table.add_row(name, str(record.seed), *values, f"{seconds:.0f}")
    console().print(table)
    for record in records:
        if record.invalid:
            print(f"{record.run_id} is invalid: {record.invalid}", file=sys.stderr)


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def print_config(overrides: Sequence[str]) -> None:
    """Print every setting, its value and its origin, for each run of a sweep."""
    from bench.config.overrides import expand, resolve, sources
    from bench.config.words import written

    for words in expand(overrides):
        table = Table(box=None, pad_edge=False)
        for column in ("setting", "value", "from"):
            table.add_column(column, overflow="fold")
        for key, value, origin in sources(resolve(words), words):
            table.add_row(key, written(value), origin)
        console().print(table)


def repeat(identity: str, overrides: Sequence[str]) -> bool:
    """Repeat a recorded run in ``runs_dir/again`` and print both results; returns whether they are equal."""
    show_logs()
    from bench.config.overrides import expand, rebuild, resolve
    from bench.data import load
    from bench.progress import Display
    from bench.record.store import RunDirectory
    from bench.run.lifecycle import run

    given = dict(word.split("=", 1) for word in next(iter(expand(overrides))))
    if other := given.keys() - {"runs_dir", "track"}:
        raise UserError(f"--again repeats a run exactly; it takes only runs_dir and track, not {min(other)}")
    asked = resolve(overrides)
    root = asked.root
    try:
        recorded = RunDirectory(root, identity).read_record()
    except FileNotFoundError:
        raise UserError(
            f"there is no record of {short(identity)} in {root}; give its directory as runs_dir=DIR"
        ) from None
    if recorded.run_id != identity:
        raise UserError(f"{root / identity / 'record.json'} is the record of run {recorded.run_id}")
    if recorded.status != "finished":
        raise UserError(f"{identity} is {recorded.status}; only a finished run can be repeated")
    config = rebuild(recorded.config)
    data = load(config.data)
    if data.fingerprint != recorded.data["fingerprint"]:
        raise UserError(
            f"the data has changed since {identity}: fingerprint {data.fingerprint}, recorded "
            f"{recorded.data['fingerprint']}; it cannot be repeated"
        )
    start = config.train.init_from
    if start is not None and (root / start / "model").is_dir():
        config = replace(config, train=replace(config.train, init_from=str(root / start / "model")))
    config = replace(config, runs_dir=str(root / "again"), track=asked.track if "track" in given else "none")
    outcome = run(config, recorded.command, force=True, display=Display(), load=lambda _: data)
    show([recorded, outcome.record])
    repeatable = recorded.evaluation_schema.repeatable(recorded.metrics)
    equal = all(outcome.record.metrics.get(name) == recorded.metrics[name] for name in repeatable)
    print(f"{outcome.path}: exact-search metrics are {'equal' if equal else 'NOT equal'} to the recorded ones")
    return equal
