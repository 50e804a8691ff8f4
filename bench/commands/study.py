"""``bench study``: one question by many runs; ``bench list studies``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from bench.atomic import explain_write_errors, write_atomic
from bench.commands.output import console, note_finished, show_logs
from bench.errors import UserError
from bench.record.record import Record

if TYPE_CHECKING:
    from bench.config.run import RunConfig
    from bench.run.context import RunContext


def study(name: str, words: Sequence[str], given: Mapping[str, object], out: Path | None) -> None:
    """Carry out or continue the study ``name`` and print the result; also write table and figure into ``out``."""
    show_logs()
    import pandas as pd

    from bench.config.overrides import command_line, expand, resolve
    from bench.data import load
    from bench.progress import Display, Suite
    from bench.run.lifecycle import run
    from bench.study.options import Options
    from bench.study.services import Services
    from bench.study.setup import run_study
    from reports.blocks import Figure
    from reports.figures.response import response
    from reports.figures.style import save, styled
    from reports.markdown import render as as_markdown
    from reports.study import study as section

    load_once = lru_cache(maxsize=1)(load)
    suite = Suite()
    if out is not None:
        with explain_write_errors(out):
            out.mkdir(parents=True, exist_ok=True)

    def execute(config: RunConfig, line: Sequence[str], context: RunContext) -> Record:
        label = " ".join([context.job_type, config.strategy.name, *context.settings, f"seed {config.seed}"])
        began = monotonic()
        display = Display(f"{label}: ", suite)
        found = run(config, command_line(line), display=display, load=load_once, context=context, wait=False)
        note_finished(suite, label, found.record, None if found.skipped else monotonic() - began)
        return found.record

    single = list(expand(words))
    if len(single) > 1:
        strategies = [line.removeprefix("strategy=").split(",") for line in words if line.startswith("strategy=")]
        if not strategies or len(single) != len(strategies[0]):
            raise UserError(
                "settings of a study cannot be comma lists, except strategy=; the study decides what varies"
            )
    services = Services(resolve, execute, load_once, suite.expect)
    path, told = run_study(name, words, Options.of(given), services)
    with styled():
        drawing = response(pd.read_parquet(path / "trials.parquet"), told)
        for directory in (path, *([out] if out is not None else [])):
            if drawing is not None:
                save(drawing, "response", directory)
            picture = None if drawing is None else Figure("response", drawing.alt)
            text = as_markdown([section(told, picture)], level=1, figures=".") + "\n"
            write_atomic(directory / "study.md", text.encode())
    print(as_markdown([section(told)], level=1))
    print(f"\nAll files: {path}")


def list_studies() -> None:
    """Print each study with its question and what it varies."""
    from bench.study.spec import known_studies

    shown = console()
    for name, spec in known_studies().items():
        varied = ", ".join(d.key for d in spec.vary) or "strategies"
        shown.print(f"{name}: {spec.asks}")
        shown.print(f"    {spec.protocol} over {varied}; {', '.join(spec.strategies)}")
