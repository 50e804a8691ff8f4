"""The report of a directory of runs: what it says, and writing it as Markdown, HTML and pictures."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bench.disk import refusals
from bench.record.ledger import Ledger
from reports import comparison, gate, html, markdown, training
from reports.blocks import Block, Bullets, Figure, Prose, Section, section
from reports.figures.matrix import matrix
from reports.figures.overview import overview
from reports.figures.quality import cost, forest, recall
from reports.figures.response import response
from reports.figures.style import Drawing, save, styled
from reports.figures.training import hardness, learning
from reports.groups import Group, groups
from reports.hardest import hardest
from reports.provenance import provenance
from reports.study import study
from reports.verdict import verdict

TITLE = "Which negatives?"
_READING = (
    "Each part below compares runs that share data, encoder, evaluation and budget. Rows that share a letter are not "
    "told apart by a paired test over queries and seeds, corrected for all pairs. Every row unfolds to the command "
    "that repeats it."
)


@dataclass
class Report:
    """What a report says, part by part, and its drawings by name."""

    sections: list[Section]
    drawings: dict[str, Drawing]


def build(ledger: Ledger, root: Path, metric: str = "recall@1") -> Report:
    """The report of the runs of ``ledger``, which lie under ``root``, and of the studies there."""
    drawings: dict[str, Drawing] = {}
    studies = list(_studies(root))
    found = groups(ledger.records, root, metric)
    sections = [
        _verdicts(found, drawings),
        *(_group(group, drawings) for group in found),
        section("Studies", *(_study(told, frame, drawings) for told, frame in studies)),
        gate.gate(found),
        provenance(found, ledger.skipped),
    ]
    return Report([part for part in sections if part is not None], drawings)


def write(report: Report, out: Path) -> Path:
    """Write ``report.md``, ``report.html`` and ``figures/`` into the directory ``out``; the path of the page."""
    with styled():
        pictures = {name: save(drawing, name, out / "figures") for name, drawing in report.drawings.items()}
    with refusals(out):
        out.mkdir(parents=True, exist_ok=True)
        (out / "report.md").write_text(text(report), encoding="utf-8")
        (out / "report.html").write_text(html.render(TITLE, report.sections, pictures), encoding="utf-8")
    return out / "report.html"


def text(report: Report) -> str:
    """The report as Markdown."""
    return f"# {TITLE}\n\n{markdown.render(report.sections)}\n"


def _verdicts(found: Sequence[Group], drawings: dict[str, Drawing]) -> Section | None:
    """The answer in three sentences for each part, those that were tested."""
    tested = [group for group in found if group.comparison.pairs]
    shown = tested or list(found)
    if not shown:
        return section("Verdict", Prose("There is no finished run."))
    parts = [section(group.title, Prose(" ".join(verdict(group.comparison)))) for group in shown]
    with styled():
        picture = _kept(drawings, "overview", overview([(g.title, g.comparison) for g in tested]))
    return section("Verdict", *parts, picture, Prose(_READING))


def _group(group: Group, drawings: dict[str, Drawing]) -> Section | None:
    of, name = group.comparison, group.name
    with styled():
        pictures: dict[str, Block | None] = {
            kind: _kept(drawings, f"{name}-{kind}", drawing)
            for kind, drawing in {
                "quality": forest(of) if len(of.rows) > 1 else None,
                "cost": cost(of),
                "recall": recall(of) if len(of.rows) > 1 else None,
                "learning": learning(of, group.history),
                "hardness": hardness(of, [training.telemetry(row) for row in of.rows]),
                "pairs": matrix(of),
            }.items()
        }
    return section(
        group.title,
        Bullets(verdict(of)),
        pictures["quality"],
        comparison.main(of),
        comparison.notes(of),
        section("Which differences are real", pictures["pairs"], comparison.every_pair(of, folded=True)),
        section("Quality against cost", pictures["cost"], training.cost(of)),
        section("Deeper in the list", pictures["recall"], comparison.every_metric(of, folded=True)),
        section("Learning curves", pictures["learning"]),
        training.negatives(of) and _with(training.negatives(of), pictures["hardness"]),
        comparison.index(of),
        hardest(group),
    )


def _with(of: Section | None, picture: Block | None) -> Section | None:
    return of if of is None or picture is None else Section(of.title, (picture, *of.blocks), of.folded)


def _studies(root: Path) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """The results of the studies under ``root``; one that is broken or from another version is passed over."""
    for path in sorted(root.glob("studies/*/study.json")):
        try:
            yield json.loads(path.read_bytes()), pd.read_parquet(path.parent / "trials.parquet")
        except (ValueError, OSError):
            continue


def _study(told: dict[str, Any], frame: pd.DataFrame, drawings: dict[str, Drawing]) -> Section:
    with styled():
        return study(told, _kept(drawings, told["name"], response(frame, told)))


def _kept(drawings: dict[str, Drawing], name: str, drawing: Drawing | None) -> Figure | None:
    if drawing is None:
        return None
    drawings[name] = drawing
    return Figure(name, drawing.alt)
