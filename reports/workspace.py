"""The project's Weights & Biases pages as code: a workspace of panels, and a report of recommendations and tables.

Both are built without a network and saved by ``bench dashboard --wandb`` where an API key is configured.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench.record.schema import RETRIEVAL, SIMILARITY, EvaluationSchema
from reports.blocks import Prose, Section
from reports.comparison import main
from reports.markdown import render
from reports.parts import Part
from reports.verdict import verdict

if TYPE_CHECKING:
    from wandb_workspaces.reports.v2 import Report
    from wandb_workspaces.workspaces import Workspace

NAME = "Which negatives?"
STRATEGY = "strategy.name"  # in a run's configuration
_HARDNESS = (
    "hardest_similarity",
    "positive_similarity",
    "positive_rank",
    "effective_negatives",
    "active",
    "labelled_masked",
    "drawn_above",
    "guide_above",
)
_COST = ("cost/texts_encoded", "cost/train_s", "cost/mine_s", "cost/peak_memory_mb")
_PAIRS = ("pair_similarity", "spread")
_ON_DEV = {RETRIEVAL.name: ("mrr@10", RETRIEVAL.headline), SIMILARITY.name: tuple(SIMILARITY.columns)}
Kinds = Sequence[EvaluationSchema]


def lines(kinds: Kinds) -> dict[str, tuple[str, ...]]:
    """The metrics by step of each section, for runs of some kinds of evaluation."""
    on_dev = [kind.on_dev(metric) for kind in kinds for metric in _ON_DEV[kind.name]]
    pairs = {"Pairs with a score or a class": _PAIRS} if SIMILARITY in kinds else {}
    training = {"Training": ("loss", "gradient_norm", "lr", *on_dev)}
    return {**training, "Hardness and false negatives": _HARDNESS, **pairs}


def bars(kinds: Kinds) -> dict[str, tuple[str, ...]]:
    """The results and costs of each section."""
    return {**{kind.name.capitalize(): tuple(kind.columns) for kind in kinds}, "Cost": _COST}


def workspace(entity: str, project: str, kinds: Kinds = (RETRIEVAL,)) -> Workspace:
    """Panels in sections for the ``kinds`` of evaluation; runs are grouped by strategy, which averages seeds."""
    from wandb_workspaces import workspaces as ws

    sections = [ws.Section(name=name, panels=panels, is_open=True) for name, panels in _panels(kinds).items()]
    grouped = ws.RunsetSettings(groupby=[ws.Config(STRATEGY)])
    return ws.Workspace(entity=entity, project=project, name=NAME, sections=sections, runset_settings=grouped)


def report(entity: str, project: str, groups: Sequence[Part]) -> Report:
    """Recommendation and main table of every comparison, then panels of the runs."""
    from wandb_workspaces.reports import v2 as wr

    titled = [(g.title, g.comparison) for g in groups]
    sections = [Section(title, (Prose(" ".join(verdict(of, "in_batch"))), main(of))) for title, of in titled]
    runs = wr.Runset(groupby=[f"config.{STRATEGY}"])  # of the report's own project
    grids: list[Any] = []
    for name, panels in _panels(kinds_of(groups)).items():
        grids += [wr.H2(text=name), wr.PanelGrid(runsets=[runs], panels=panels)]
    return wr.Report(
        entity=entity,
        project=project,
        title=NAME,
        description="Made from the records by `bench dashboard --wandb`.",
        blocks=[wr.TableOfContents(), wr.MarkdownBlock(text=render(sections)), *grids],
    )


def kinds_of(groups: Sequence[Part]) -> Kinds:
    """The kinds of evaluation of the groups, in order; without groups that of retrieval."""
    return list({g.comparison.schema.name: g.comparison.schema for g in groups}.values()) or [RETRIEVAL]


def _panels(kinds: Kinds) -> dict[str, list[Any]]:
    """The panels of each section; the section that compares runs comes last."""
    from wandb_workspaces.reports import v2 as wr

    group = wr.Config(STRATEGY)
    found: dict[str, list[Any]] = {
        section: [
            wr.LinePlot(
                title=metric, x="Step", y=[metric], groupby=group, groupby_aggfunc="mean", groupby_rangefunc="stddev"
            )
            for metric in metrics
        ]
        for section, metrics in lines(kinds).items()
    }
    for section, metrics in bars(kinds).items():
        found[section] = [
            wr.BarPlot(
                title=metric,
                metrics=[wr.SummaryMetric(metric)],
                groupby=group,
                groupby_aggfunc="mean",
                groupby_rangefunc="stddev",
            )
            for metric in metrics
        ]
    headlines = [kind.headline for kind in kinds]
    found["Cost"] += [
        wr.ScatterPlot(
            title=f"{metric} against texts encoded",
            x=wr.SummaryMetric("cost/texts_encoded"),
            y=wr.SummaryMetric(metric),
            log_x=True,
        )
        for metric in headlines
    ]
    columns = [
        wr.ParallelCoordinatesPlotColumn(metric=metric)
        for metric in (
            wr.Config(STRATEGY),
            wr.Config("strategy.scale"),
            wr.Config("strategy.margin"),
            *map(wr.SummaryMetric, headlines),
        )
    ]
    found["Compare"] = [wr.ParallelCoordinatesPlot(columns=columns), wr.RunComparer(diff_only="split")]
    return found
