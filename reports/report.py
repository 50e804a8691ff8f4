"""The report of a directory of runs: its sections, written as Markdown, HTML and figures."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pandas as pd

from bench.atomic import explain_write_errors, write_atomic
from bench.compare.comparison import Comparison
from bench.record.files import FileError, files_at
from bench.record.ledger import Ledger
from bench.record.study import StudyResult, final_commands, read_trials, results_in
from reports import comparison, gate, html, markdown, training
from reports.blocks import Block, Bullets, Figure, Prose, Section, section
from reports.budgets import across_budgets
from reports.curves import course
from reports.figures.matrix import matrix
from reports.figures.overview import overview
from reports.figures.quality import cost, forest, recall
from reports.figures.response import response
from reports.figures.style import Drawing, save, styled
from reports.figures.training import hardness, learning
from reports.hardest import hardest_items
from reports.parts import Part, parts
from reports.provenance import provenance
from reports.study import study
from reports.verdict import glance, recommended, verdict

TITLE = "Which negatives?"
_TABLE: tuple[str, ...] = (
    "In the table, the number after the best strategy is its value of the metric, in percent. A name is bold where it "
    "is significantly better than every other row. A difference is bold where it is significant.",
    "The best row is compared with the baseline, or with the next row where the baseline itself is the best. The "
    "confidence interval is of that pair alone. p is corrected for the family of all rows against the baseline, or of "
    "the best against the rest; significant means p ≤ 0.05.",
    "`texts encoded` counts training and mining, and is the cost. The last column is the row that encodes the fewest "
    "texts (their number in brackets) of those that are not significantly worse than the best, where that is at least "
    "10 % less than the best row encodes. Its mean may be lower.",
)
_INDEX = (
    "Differences are those of the index. Where the difference by exact search is another, the index loses more of one "
    "row than of the other."
)
_READING: tuple[str, ...] = (
    "Each part below compares runs with equal data, encoder, evaluation and budget. "
    "A part titled with a study has that study's settings, tuned where it searched. Do not compare rows of different "
    "parts. A study that varies the encoder or the evaluation has a part of its own, whose rows differ in that.",
    "Rows that share a letter are not significantly different by a paired test over {items} and seeds, corrected for "
    "all pairs.",
    "Rows differ in the strategy: its negatives, its loss and its settings, such as the scale (see `Settings`). A "
    "row's name has the settings that distinguish it from other rows; a note in its part has those that its command "
    "sets besides. Every row unfolds to the command that repeats it.",
    "Seconds and memory depend on the machine and on what else ran on it; texts encoded do not.",
)


@dataclass
class Report:
    """The sections of a report, and the SVG texts of its figures by name."""

    sections: list[Section]
    pictures: dict[str, str]


Drawings = Mapping[str, Drawing | None]
Written = tuple[Section | None, dict[str, str]]
"""A part's section, and the SVG texts of its figures by name."""


def build(
    ledger: Ledger, root: Path, metric: str | None = None, against: str | None = None, figures: Path | None = None
) -> Report:
    """The report of the runs of ``ledger``, which lie under ``root``, and of the studies there.

    A study is reported when a final run of it is in the ledger.
    ``against`` is the baseline strategy that differences are stated against. Figures are drawn only where ``figures``
    names a directory for them.
    """
    commands = {record.command for record in ledger.records}
    studies, unreadable = _studies(root)
    known = [(told, frame) for told, frame in studies if commands & final_commands(told)]
    asked = {told["name"]: final_commands(told) for told, _ in known}
    found = parts(ledger.records, root, metric, asked)
    answered = {part.name for part in _answered(found)}
    written: list[Callable[[], Written]] = [
        partial(_front, found, against, figures),
        *(partial(_group, group, against, figures, group.name in answered) for group in found),
        *(partial(_study, told, frame, figures) for told, frame in known),
    ]
    made, saved = zip(*_each(written), strict=True)
    sections = [
        made[0],
        across_budgets(found),
        *made[1 : 1 + len(found)],
        section("Studies", *made[1 + len(found) :]),
        gate.gate(found),
        provenance(found, [*ledger.skipped, *unreadable], ledger.failed, ledger.records),
    ]
    return Report([part for part in sections if part is not None], {k: v for of in saved for k, v in of.items()})


def write(ledger: Ledger, root: Path, out: Path, metric: str | None = None, against: str | None = None) -> Path:
    """Write ``report.md``, ``report.html`` and ``figures/`` into the directory ``out``; the path of the page.

    Figures of an earlier report there that this one does not have are deleted.
    """
    with explain_write_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    earlier = markdown.pictured(out / "report.md")
    report = build(ledger, root, metric, against, out / "figures")
    page = html.render(TITLE, report.sections, report.pictures)
    write_atomic(out / "report.md", text(report).encode())
    write_atomic(out / "report.html", page.encode())
    for name in earlier - set(report.pictures):
        for kind in ("svg", "png"):
            (out / "figures" / f"{name}.{kind}").unlink(missing_ok=True)
    return out / "report.html"


def text(report: Report) -> str:
    """The report as Markdown."""
    return f"# {TITLE}\n\n{markdown.render(report.sections)}\n"


def _each(parts: Sequence[Callable[[], Written]]) -> list[Written]:
    """The result of every part, computed by one process a processor where there are enough parts."""
    workers = min(os.cpu_count() or 1, len(parts) // 2)
    if workers < 2 or sys.platform != "linux":
        return [part() for part in parts]
    with ProcessPoolExecutor(workers, get_context("fork")) as pool:
        return [done.result() for done in [pool.submit(part) for part in parts]]


def _answered(found: Sequence[Part]) -> list[Part]:
    """The parts whose statements stand in front and therefore not in the part: none where a table stands there."""
    tested = [part for part in found if part.comparison.pairs]
    return [] if len(tested) > 1 else tested or list(found)


def _front(found: Sequence[Part], against: str | None, figures: Path | None) -> Written:
    """The recommendation of each part as a row of a table, or of a single part as statements."""
    if not found:
        return section("Verdict", Prose("There is no finished run.")), {}
    if answered := _answered(found):
        parts = [Section(part.title, tuple(_statements(part, against))) for part in answered]
        return section("Verdict", *parts, Bullets(_reading(found))), {}
    with styled():
        drawings = {"overview": overview([(part.short, part.comparison) for part in found])} if figures else {}
    drawn, saved = _saved(drawings, figures)
    tested = [(part.title, part.comparison) for part in found if part.comparison.pairs]
    by_index = (_INDEX,) if any(of.schema.reference is not None for _, of in tested) else ()
    told = Bullets((*_TABLE[:2], *by_index, *_TABLE[2:], *_reading(found)))
    return section("Verdict", glance(tested, against), drawn.get("overview"), told), saved


def _reading(found: Sequence[Part]) -> tuple[str, ...]:
    """How to read every part."""
    items = " or ".join(dict.fromkeys(part.comparison.schema.items for part in found))
    return tuple(text.format(items=items) for text in _READING)


def _statements(part: Part, against: str | None) -> list[Block]:
    """The recommendation, its evidence and cost, and the commands that it recommends."""
    commands = recommended(part.comparison, against)
    return [Bullets(verdict(part.comparison, against)), *([commands] if commands else [])]


def _group(group: Part, against: str | None, figures: Path | None, answered: bool = False) -> Written:
    of, unreadable = group.comparison, group.unreadable()
    drawn = _saved(_drawings(group) if figures else {}, figures)
    shown = {name.removeprefix(f"{group.name}-"): figure for name, figure in drawn[0].items()}
    found = section(
        group.title,
        *([] if answered else _statements(group, against)),
        comparison.main(of),
        comparison.notes(of),
        comparison.settings(of),
        section(f"{of.metric} of every row", shown.get("quality")),
        section(
            "Which differences are significant",
            shown.get("pairs"),
            comparison.against_baseline(of, against, folded=True),
            comparison.against_best(of, folded=True),
            comparison.every_pair(of, folded=True),
        ),
        section("Quality against cost", shown.get("cost"), training.cost(of)),
        _metrics(of, shown.get("recall")),
        section("Learning curves", shown.get("learning"), course(of, group.history)),
        comparison.index(of),
        training.negatives(of, shown.get("hardness")),
        training.labelled(of),
        training.geometry(of),
        hardest_items(group),
        section("Files that could not be read", Bullets(tuple(unreadable))) if unreadable else None,
    )
    return found, drawn[1]


def _metrics(of: Comparison, curve: Figure | None) -> Section | None:
    """Every metric, with the curve over cut-offs where the kind of evaluation has one."""
    every = comparison.every_metric(of, folded=True)
    return section(f"{of.schema.curve.capitalize()} at larger cut-offs", curve, every) if of.schema.curve else every


def _drawings(group: Part) -> Drawings:
    of, several = group.comparison, len(group.comparison.rows) > 1
    with styled():
        drawn = {
            "quality": forest(of) if several else None,
            "cost": cost(of),
            "recall": recall(of) if several else None,
            "learning": learning(of, group.history),
            "hardness": hardness(of, [training.telemetry(row) for row in of.rows]),
            "pairs": matrix(of),
        }
    return {f"{group.name}-{kind}": drawing for kind, drawing in drawn.items()}


def _saved(drawings: Drawings, figures: Path | None) -> tuple[dict[str, Figure], dict[str, str]]:
    """The drawings that exist, as blocks, and their SVG texts, both by name."""
    there = {name: drawing for name, drawing in drawings.items() if drawing is not None}
    blocks = {name: Figure(name, drawing.alt) for name, drawing in there.items()}
    with styled():
        return blocks, {name: save(drawing, name, figures) for name, drawing in there.items() if figures}


def _studies(root: Path) -> tuple[list[tuple[StudyResult, pd.DataFrame]], list[tuple[Path, str]]]:
    """The results of the studies under ``root``, and those that cannot be read with the reason."""
    files = files_at(root)
    results, errors = results_in(files)
    found = []
    for directory, told in results.items():
        try:
            found.append((told, read_trials(files, directory)))
        except FileError as error:
            errors.append(error)
    return found, [(error.path, error.why) for error in errors]


def _study(told: StudyResult, frame: pd.DataFrame, figures: Path | None) -> Written:
    with styled():
        drawings = {told["name"]: response(frame, told)} if figures else {}
    blocks, pictures = _saved(drawings, figures)
    return study(told, blocks.get(told["name"])), pictures
