"""What the commands do that answer questions by many runs: comparing records, and studies."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from bench.commands import command, console, show_logs
from bench.disk import refusals
from bench.errors import UserError, nearest
from bench.record.record import Record

LEFT_OUT = 3  # records that are named as left out

if TYPE_CHECKING:
    from bench.run import RunConfig


def compare(
    words: Sequence[str], runs_dir: Path, metric: str, allowed: Sequence[str], everything: bool, out: Path | None
) -> None:
    """Print the comparison of the records that ``words`` choose, or write it to the file ``out``."""
    from bench.compare.comparison import compare
    from bench.compare.fair import ASPECTS
    from bench.compare.ranks import of_runs
    from bench.compare.select import select
    from bench.record.ledger import read
    from reports.comparison import render_comparison

    if unknown := [name for name in allowed if name not in ASPECTS]:
        raise UserError(f"--allow {unknown[0]}: only {', '.join(ASPECTS)} can be allowed to differ")
    ledger = read(runs_dir)
    for path, why in ledger.skipped[:LEFT_OUT]:
        print(f"left out: {path}: {why}", file=sys.stderr)
    if (more := len(ledger.skipped) - LEFT_OUT) > 0:
        print(f"left out: {more} more, which bench report names", file=sys.stderr)
    text = render_comparison(compare(select(ledger.records, words), of_runs(runs_dir), metric, allowed), everything)
    if out is None:
        print(text, end="")
        return
    with refusals(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
    print(out)


def study(name: str, words: Sequence[str], given: Mapping[str, object], out: Path | None) -> None:
    """Carry out the study ``name``, or go on with it, and print what it found; table and figure also go to ``out``."""
    show_logs()
    import pandas as pd

    from bench.config import expand, resolve
    from bench.data import load
    from bench.progress import Display
    from bench.role import Role
    from bench.run import run
    from bench.study.begin import begin
    from bench.study.options import Options
    from reports.response import draw
    from reports.study import render_study

    load_once = lru_cache(maxsize=1)(load)

    def execute(config: RunConfig, line: Sequence[str], role: Role) -> Record:
        title = f"{role.job_type} {config.strategy.name}: "
        return run(config, command(line), display=Display(title), load=load_once, role=role).record

    single = list(expand(words))
    if len(single) > 1:
        strategies = [line.removeprefix("strategy=").split(",") for line in words if line.startswith("strategy=")]
        if not strategies or len(single) != len(strategies[0]):
            raise UserError("a study varies what it asks about; only strategy= may be a list here")
    path, told = begin(name, words, Options.of(given), resolve=resolve, execute=execute, load=load_once)
    text = render_study(path, told)
    into = [path, *([out] if out is not None else [])]
    for directory in into:
        with refusals(directory):
            directory.mkdir(parents=True, exist_ok=True)
            (directory / "study.md").write_text(text, encoding="utf-8")
    with refusals(into[-1]):
        draw(pd.read_parquet(path / "trials.parquet"), told, into)
    print(text, end="")


def dashboard(name: str, runs_dir: Path, storage: str | None, port: int) -> None:
    """Serve Optuna's dashboard of the study whose directory is ``name``, until interrupted."""
    directory = runs_dir / "studies" / name
    if not (directory / "trials.log").exists() and storage is None:
        there = sorted(path.parent.name for path in runs_dir.glob("studies/*/trials.log"))
        raise UserError(f"there is no study at {directory}{nearest(name, there)}")
    try:
        from optuna_dashboard import run_server
    except ImportError:
        raise UserError("Optuna's dashboard is not installed: pip install 'negbench[dashboard]'") from None
    from bench.study.storage import open_storage

    print(f"http://localhost:{port} shows {name}; Ctrl-C ends it", file=sys.stderr)
    run_server(open_storage(storage, directory), host="localhost", port=port)


def list_studies() -> None:
    """Print each study with its question and what it varies."""
    from studies import questions

    shown = console()
    for name, question in questions().items():
        varied = ", ".join(d.key for d in question.vary) or "strategies"
        shown.print(f"{name}: {question.asks}")
        shown.print(f"    {question.protocol} over {varied}; {', '.join(question.strategies)}")
