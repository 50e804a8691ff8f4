"""What the commands do, once their words are understood."""

from __future__ import annotations

import logging
import shlex
import sys
import traceback
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from bench.errors import UserError, nearest
from bench.record.record import Record

if TYPE_CHECKING:
    from bench.run import Outcome

COLUMNS = {
    "recall@1": "R@1",
    "recall@5": "R@5",
    "recall@10": "R@10",
    "recall@50": "R@50",
    "mrr@10": "MRR@10",
    "ndcg@10": "nDCG@10",
    "exact/recall@1": "exact R@1",
}
PIPED_WIDTH = 100


class _Stderr(logging.Handler):
    """Writes to whatever standard error is at the time, so that a line stands above a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr)


def console() -> Console:
    """Standard out, of one width when piped; brackets and colons in texts are themselves."""
    width = None if sys.stdout is not None and sys.stdout.isatty() else PIPED_WIDTH
    return Console(width=width, highlight=False, markup=False, emoji=False)


def show_logs() -> None:
    """This project's log lines on standard error, and of other libraries errors only."""
    logging.basicConfig(level=logging.ERROR, format="%(message)s", handlers=[_Stderr()])
    logging.getLogger("bench").setLevel(logging.INFO)


def run_all(overrides: Sequence[str], force: bool = False) -> bool:
    """Carry out every run the overrides ask for and show them; whether all went well."""
    outcomes, failed = carry_out(overrides, force)
    if outcomes:
        show([outcome.record for outcome in outcomes])
        for outcome in outcomes:
            print(outcome.path)
    return failed == 0


def carry_out(overrides: Sequence[str], force: bool = False) -> tuple[list[Outcome], int]:
    """Every run the overrides ask for, and how many failed. One that fails does not stop the others."""
    show_logs()
    from bench.config import expand, resolve
    from bench.data import load
    from bench.progress import Display, Suite
    from bench.run import run

    single = list(expand(overrides))
    suite = Suite(len(single)) if len(single) > 1 else None
    configs = [resolve(words) for words in single]  # all are checked before any is run
    load_once = lru_cache(maxsize=1)(load)
    outcomes, failed = [], 0
    for words, config in zip(single, configs, strict=True):
        label = f"{config.strategy.name} seed {config.seed}"
        display, began = Display(f"{label}: " if suite else "", suite), monotonic()
        try:
            outcome = run(config, command(words), force=force, display=display, load=load_once)
        except UserError as error:
            failed += 1
            if len(single) == 1:
                raise
            print(f"bench: {' '.join(words)}: {error}", file=sys.stderr)
            if suite:
                suite.finished(label, "", None, monotonic() - began)
            continue
        except Exception:  # a fault of this program: told in full, and the other runs are still wanted
            failed += 1
            if len(single) == 1:
                raise
            print(f"bench: {' '.join(words)}:", file=sys.stderr)
            traceback.print_exc()
            if suite:
                suite.finished(label, "", None, monotonic() - began)
            continue
        outcomes.append(outcome)
        if suite:
            metric = next((name for name in COLUMNS if name in outcome.record.metrics), "")
            took = None if outcome.skipped else monotonic() - began
            suite.finished(label, metric, outcome.record.metrics.get(metric), took)
        if outcome.skipped:
            print(f"{outcome.record.run_id} is finished already (--force runs it again)", file=sys.stderr)
    return outcomes, failed


def command(words: Sequence[str]) -> str:
    """The shortest command that repeats a run with these overrides, here."""
    return " ".join(["bench", "run", *(_quoted(w) for w in words if not w.startswith(("runs_dir=", "track=")))])


def _quoted(word: str) -> str:
    """A word for the shell; one that has quotes of its own stays readable in double ones."""
    return f'"{word}"' if "'" in word and not set(word) & set('"$`\\!') else shlex.quote(word)


def show(records: Sequence[Record]) -> None:
    """Print the records as one table, an untrained row before those that start from it."""
    columns = [c for c in COLUMNS if any(c in r.metrics for r in records)]
    first = records[0]
    title = f"{first.data['name']}, split {first.split}, percent"
    table = Table(title=title, title_justify="left", title_style="", box=None, pad_edge=False)
    table.add_column("strategy")
    table.add_column("seed", justify="right")
    for name in columns:
        table.add_column(COLUMNS[name], justify="right")
    table.add_column("train s", justify="right")
    shown: list[object] = []
    for record in records:
        base = record.baseline_metrics
        if base is not None and base not in shown:
            shown.append(base)
            table.add_row("before training", "", *(_percent(base.get(c)) for c in columns), "")
        seconds = record.cost.get("train_s") or 0.0
        values = (_percent(record.metrics.get(c)) for c in columns)
        table.add_row(record.strategy, str(record.seed), *values, f"{seconds:.0f}")
    console().print(table)


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def print_config(overrides: Sequence[str]) -> None:
    """Print every setting, its value and where that is from, for each run of a sweep."""
    from bench.compare.cells import word
    from bench.config import expand, resolve, sources

    for words in expand(overrides):
        table = Table(box=None, pad_edge=False)
        for column in ("setting", "value", "from"):
            table.add_column(column, overflow="fold")
        for key, value, origin in sources(resolve(words), words):
            table.add_row(key, word(value), origin)
        console().print(table)


def repeat(identity: str, overrides: Sequence[str]) -> bool:
    """Run a recorded configuration again in ``runs_dir/again``, print both results; whether they are equal."""
    show_logs()
    from bench.config import expand, rebuild, resolve
    from bench.data import load
    from bench.progress import Display
    from bench.record.store import RunDirectory
    from bench.run import run

    given = dict(word.split("=", 1) for word in next(iter(expand(overrides))))
    if other := given.keys() - {"runs_dir", "track"}:
        raise UserError(f"--again repeats a run exactly; it takes only runs_dir and track, not {min(other)}")
    root = resolve(overrides).root
    try:
        recorded = RunDirectory(root, identity).read_record()
    except FileNotFoundError:
        raise UserError(f"there is no record of {identity} in {root}; runs_dir=DIR tells where it is") from None
    if recorded.status != "finished":
        raise UserError(f"{identity} is {recorded.status}; only a finished run can be repeated")
    config = rebuild(dict(recorded.config))
    data = load(config.data)
    if data.fingerprint != recorded.data["fingerprint"]:
        raise UserError(
            f"the data has changed since {identity}: fingerprint {data.fingerprint}, recorded "
            f"{recorded.data['fingerprint']}; it cannot be repeated"
        )
    start = config.train.init_from
    if start is not None and (root / start / "model").is_dir():
        config = replace(config, train=replace(config.train, init_from=str(root / start / "model")))
    config = replace(config, runs_dir=str(root / "again"), track=given.get("track", "none"))
    outcome = run(config, recorded.command, force=True, display=Display(), load=lambda _: data)
    show([recorded, outcome.record])
    exact = {name for name in recorded.metrics if name.startswith("exact/")}
    equal = all(outcome.record.metrics[name] == recorded.metrics[name] for name in exact)
    print(f"{outcome.path}: exact-search metrics are {'equal' if equal else 'NOT equal'} to the recorded ones")
    return equal


def report(runs_dir: Path, out: Path | None, metric: str, against: str) -> None:
    """Print the report of all finished runs as Markdown, or write page, Markdown and figures into ``out``."""
    from bench.record.ledger import read
    from reports.report import build, text, write
    from strategies import registered

    ledger = read(runs_dir)
    if not ledger.records and not ledger.skipped:
        raise UserError(f"{runs_dir} holds no finished run; run something first: bench run strategy=hardest_neg")
    known = {*registered(), *(record.strategy for record in ledger.records)}
    if against not in known:
        raise UserError(f"--against {against}: there is no such strategy{nearest(against, known)}")
    if out is None:
        print(text(build(ledger, runs_dir, metric, against)), end="")
    else:
        print(write(ledger, runs_dir, out, metric, against))


def list_strategies(markdown: bool) -> None:
    """Print each strategy with its summary and knobs, or the page of them."""
    from bench.catalogue import allowed, page, source, summary, wanted
    from strategies import registered

    if markdown:
        print(page(), end="")
        return
    out = console()
    for name, strategy in registered().items():
        out.print(f"{name}: {summary(strategy)}")
        out.print(f"    {wanted(strategy)}; {source(strategy)}")
        for knob in strategy.knobs():
            out.print(f"    strategy.{knob.name}={knob.default}  ({allowed(knob)}; {knob.source})")


def inspect(name: str) -> bool:
    """Print what a data set holds and what is wrong with it; whether it can be used."""
    from bench.data.inspect import inspect as look
    from bench.data.inspect import render

    found = look(name)
    print(render(found))
    return found.ok
