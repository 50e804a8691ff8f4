"""The project's Weights & Biases pages as code: a workspace of panels, and a report of recommendations and tables.

Both are built without a network and saved by ``bench dashboard --wandb`` where an API key is configured.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench.record.schema import RETRIEVAL
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
LINES = {
    "Training": ("loss", "gradient_norm", "lr", *map(RETRIEVAL.on_dev, ("mrr@10", RETRIEVAL.headline))),
    "Hardness and false negatives": (
        "hardest_similarity",
        "positive_similarity",
        "positive_rank",
        "effective_negatives",
        "active",
        "labelled_masked",
        "drawn_above",
        "guide_above",
    ),
}
BARS = {
    "Retrieval": tuple(RETRIEVAL.columns),
    "Cost": ("cost/texts_encoded", "cost/train_s", "cost/mine_s", "cost/peak_memory_mb"),
}


def workspace(entity: str, project: str) -> Workspace:
    """Panels in sections; runs are grouped by strategy, which averages seeds."""
    from wandb_workspaces import workspaces as ws

    sections = [ws.Section(name=name, panels=panels, is_open=True) for name, panels in _panels().items()]
    grouped = ws.RunsetSettings(groupby=[ws.Config(STRATEGY)])
    return ws.Workspace(entity=entity, project=project, name=NAME, sections=sections, runset_settings=grouped)


def report(entity: str, project: str, groups: Sequence[Part]) -> Report:
    """Recommendation and main table of every comparison, then panels of the runs."""
    from wandb_workspaces.reports import v2 as wr

    titled = [(g.title, g.comparison) for g in groups]
    sections = [Section(title, (Prose(" ".join(verdict(of, "in_batch"))), main(of))) for title, of in titled]
    runs = wr.Runset(groupby=[f"config.{STRATEGY}"])  # of the report's own project
    grids: list[Any] = []
    for name, panels in _panels().items():
        grids += [wr.H2(text=name), wr.PanelGrid(runsets=[runs], panels=panels)]
    return wr.Report(
        entity=entity,
        project=project,
        title=NAME,
        description="Made from the records by `bench dashboard --wandb`.",
        blocks=[wr.TableOfContents(), wr.MarkdownBlock(text=render(sections)), *grids],
    )


def _panels() -> dict[str, list[Any]]:
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
        for section, metrics in LINES.items()
    }
    for section, metrics in BARS.items():
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
    found["Cost"].append(
        wr.ScatterPlot(
            title="recall@1 against texts encoded",
            x=wr.SummaryMetric("cost/texts_encoded"),
            y=wr.SummaryMetric(RETRIEVAL.headline),
            log_x=True,
        )
    )
    columns = [
        wr.ParallelCoordinatesPlotColumn(metric=metric)
        for metric in (
            wr.Config(STRATEGY),
            wr.Config("strategy.scale"),
            wr.Config("strategy.margin"),
            wr.SummaryMetric(RETRIEVAL.headline),
        )
    ]
    found["Compare"] = [wr.ParallelCoordinatesPlot(columns=columns), wr.RunComparer(diff_only="split")]
    return found
