"""What the commands do that answer questions by many runs: comparing records, and studies."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from bench.commands import command, console, show_logs
from bench.disk import refusals, write_whole
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
    from reports.comparison import render
    from reports.markdown import render as as_markdown

    if unknown := [name for name in allowed if name not in ASPECTS]:
        raise UserError(f"--allow {unknown[0]}: only {', '.join(ASPECTS)} can be allowed to differ")
    ledger = read(runs_dir)
    for path, why in ledger.skipped[:LEFT_OUT]:
        print(f"left out: {path}: {why}", file=sys.stderr)
    if (more := len(ledger.skipped) - LEFT_OUT) > 0:
        print(f"left out: {more} more, which bench report names", file=sys.stderr)
    if ledger.searched:
        print(f"left out: {len(ledger.searched)} trials of studies' searches", file=sys.stderr)
    compared = compare(select(ledger.records, words), of_runs(runs_dir), metric, allowed)
    text = as_markdown([render(compared, everything)]) + "\n"
    if out is None:
        print(text, end="")
        return
    with refusals(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, text.encode())
    print(out)


def study(name: str, words: Sequence[str], given: Mapping[str, object], out: Path | None) -> None:
    """Carry out the study ``name``, or go on with it, and print what it found; table and figure also go to ``out``."""
    show_logs()
    import pandas as pd

    from bench.config import expand, resolve
    from bench.data import load
    from bench.progress import Display, Suite
    from bench.role import Role
    from bench.run import run
    from bench.study.begin import begin
    from bench.study.options import Options
    from reports.blocks import Figure
    from reports.figures.response import response
    from reports.figures.style import save, styled
    from reports.markdown import render as as_markdown
    from reports.study import study as section

    load_once = lru_cache(maxsize=1)(load)
    suite = Suite()
    if out is not None:
        with refusals(out):
            out.mkdir(parents=True, exist_ok=True)

    def execute(config: RunConfig, line: Sequence[str], role: Role) -> Record:
        label, began = f"{role.job_type} {config.strategy.name} seed {config.seed}", monotonic()
        found = run(config, command(line), display=Display(f"{label}: ", suite), load=load_once, role=role)
        selected = role.job_type == "trial" and config.eval.max_corpus is not None
        metric = config.eval.selection if selected else f"recall@{config.eval.ks[0]}"
        took = None if found.skipped else monotonic() - began
        suite.finished(label, metric, found.record.metrics.get(metric), took)
        return found.record

    single = list(expand(words))
    if len(single) > 1:
        strategies = [line.removeprefix("strategy=").split(",") for line in words if line.startswith("strategy=")]
        if not strategies or len(single) != len(strategies[0]):
            raise UserError("a study varies what it asks about; only strategy= may be a list here")
    path, told = begin(
        name, words, Options.of(given), resolve=resolve, execute=execute, load=load_once, expect=suite.expect
    )
    with styled():
        drawing = response(pd.read_parquet(path / "trials.parquet"), told)
        for directory in (path, *([out] if out is not None else [])):
            if drawing is not None:
                save(drawing, "response", directory)
            picture = None if drawing is None else Figure("response", drawing.alt)
            text = as_markdown([section(told, picture)], level=1, figures=".") + "\n"
            write_whole(directory / "study.md", text.encode())
    print(as_markdown([section(told)], level=1))
    print(f"\nEverything: {path}")


def reproduce(name: str | None, words: Sequence[str]) -> bool:
    """Repeat the documented row ``name``, set the result against it; whether it passes. Without a name, list them."""
    from bench.commands import carry_out
    from bench.config import resolve
    from bench.data.layout import PRESETS
    from bench.evaluate.metrics import names
    from reports.documented import documented
    from reports.gate import against
    from reports.groups import groups
    from reports.markdown import render

    known = {entry.id: entry for entry in documented()}
    if name is None:
        for entry in known.values():
            if entry.strategy and entry.backbone and entry.tolerance is not None:
                print(f"{entry.id}: {entry.label}, {entry.backbone} ({entry.data})")
        return True
    if name not in known:
        raise UserError(f"there is no documented row {name!r}{nearest(name, known)}")
    entry = known[name]
    overrides = entry.words(words)
    if entry.data not in PRESETS and f"data={entry.data}" in overrides[len(words) :]:  # nobody said where it is
        raise UserError(
            f"{name} is of {entry.data}, of which there is no preset; data=DIR/{entry.data} says where it is"
        )
    config = resolve(overrides)
    reported = names(config.eval.ks, config.eval.retrieve)
    if missing := [metric for metric in entry.metrics if metric not in reported]:
        raise UserError(f"{name} is documented by {', '.join(entry.metrics)}; eval.ks leaves out {', '.join(missing)}")
    outcomes, failed = carry_out(overrides)
    if failed:
        return False
    found = groups([outcome.record for outcome in outcomes], config.root, next(iter(entry.metrics)))
    section, passed = against(entry, [row for group in found for row in group.comparison.rows])
    print(render([section]))
    return passed


def dashboard(name: str | None, runs_dir: Path, storage: str | None, port: int) -> None:
    """Serve Optuna's dashboard of the study whose directory is ``name``; without a name, open the report's page."""
    if name is None:
        import webbrowser

        page = _page(runs_dir).resolve()
        print(page)
        webbrowser.open(page.as_uri())
        return
    directory = runs_dir / "studies" / name
    if not (directory / "trials.log").exists() and storage is None:
        there = sorted(path.parent.name for path in runs_dir.glob("studies/*/trials.log"))
        known = nearest(name, there) if there else "; bench study makes one, --storage says where one in a database is"
        raise UserError(f"there is no study at {directory}{known}")
    try:
        from optuna_dashboard import run_server
    except ImportError:
        raise UserError("Optuna's dashboard is not installed: pip install 'negbench[dashboard]'") from None
    from bench.study.storage import open_storage

    print(f"http://localhost:{port} shows {name}; Ctrl-C ends it", file=sys.stderr)
    run_server(open_storage(storage, directory), host="localhost", port=port)


def _page(runs_dir: Path) -> Path:
    from bench.record.ledger import read
    from reports.report import write

    return write(read(runs_dir), runs_dir, runs_dir / "report", against="in_batch")


def wandb_pages(runs_dir: Path, metric: str = "recall@1") -> None:
    """Build the project's W&B workspace and report from the records, and save them where a key is set up."""
    from bench.record.ledger import read
    from bench.record.tracker import PROJECT
    from bench.record.tracking_mode import has_key
    from reports.groups import groups

    try:
        from reports.workspace import report, workspace
    except ImportError:
        raise UserError("wandb-workspaces is not installed: pip install 'negbench[dashboard]'") from None
    if not has_key():
        raise UserError(
            "no W&B key is set up (`wandb login`), so there is nowhere to save the workspace and the report"
        )
    import wandb

    entity = wandb.Api().default_entity or ""
    found = groups(read(runs_dir).records, runs_dir, metric)
    for page in (workspace(entity, PROJECT), report(entity, PROJECT, found)):
        print(page.save().url)


def list_studies() -> None:
    """Print each study with its question and what it varies."""
    from studies import questions

    shown = console()
    for name, question in questions().items():
        varied = ", ".join(d.key for d in question.vary) or "strategies"
        shown.print(f"{name}: {question.asks}")
        shown.print(f"    {question.protocol} over {varied}; {', '.join(question.strategies)}")
