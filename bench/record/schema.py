"""The schema of each kind of evaluation, so that reports can read records without knowing how they were made."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class EvaluationSchema:
    """How the measurements of one kind of evaluation are named, and which of them a table or a figure shows.

    ``headline`` is the default metric of comparisons. ``columns`` are the metrics of the table after a run, with their
    heads. One row of the per-item file ``items_file`` is one ``item`` (several are ``items``), whose id stands in the
    column of that name. Metrics under ``reference`` are those of an exact computation of the same thing, which an
    approximate index can only come near to (None: nothing is approximate). ``solved`` is the per-item column that says
    whether an item was answered; ``curve`` the metric that is drawn against its cut-off; ``hidden`` the beginnings of
    names that the table of every metric leaves out; ``by_part`` the metrics that it shows of parts of the split and of
    tasks. ``unused`` are the beginnings of settings that the evaluation does not read. ``lowest`` is the least that a
    metric can be; 100 is the most.
    """

    name: str
    headline: str
    columns: Mapping[str, str]
    item: str
    items: str
    items_file: str
    reference: str | None = None
    solved: str | None = None
    curve: str | None = None
    hidden: tuple[str, ...] = ()
    by_part: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    lowest: float = 0.0

    def plain(self, metric: str) -> str:
        """The metric without the mark of the exact computation."""
        return metric.removeprefix(self.reference) if self.reference else metric

    def exact(self, metric: str) -> str | None:
        """The name of the same metric computed exactly, or None where nothing is approximate."""
        return None if self.reference is None else f"{self.reference}{self.plain(metric)}"

    def on_dev(self, metric: str) -> str:
        """The name that evaluations during training give a metric in the history."""
        return f"dev/{self.exact(metric) or metric}"

    def repeatable(self, metrics: Iterable[str]) -> list[str]:
        """Those of ``metrics`` that a repetition reproduces to the last digit."""
        return [name for name in metrics if self.reference is None or name.startswith(self.reference)]

    def cut_offs(self, metrics: Iterable[str]) -> dict[int, str]:
        """The metrics of ``curve`` by their cut-off, rising; none where there is no curve."""
        found = (re.fullmatch(rf"{self.curve}@(\d+)", name) for name in metrics) if self.curve else ()
        return {int(match[1]): match[0] for match in sorted(filter(None, found), key=lambda match: int(match[1]))}

    def of_whole(self, metrics: Iterable[str]) -> list[str]:
        """The metrics of the whole split that a table of all of them shows."""
        return [name for name in metrics if "/" not in name and not name.startswith(self.hidden)]

    def of_parts(self, metrics: Iterable[str]) -> list[str]:
        """The metrics of parts of the split that a table of all of them shows."""
        exact = self.reference or "/" * 2
        shown = tuple(f"/{name}" for name in self.by_part)
        return [name for name in metrics if "/" in name and exact not in name and name.endswith(shown)]


RETRIEVAL = EvaluationSchema(
    name="retrieval",
    headline="recall@1",
    columns={
        "recall@1": "R@1",
        "recall@5": "R@5",
        "recall@10": "R@10",
        "recall@50": "R@50",
        "mrr@10": "MRR@10",
        "ndcg@10": "nDCG@10",
        "exact/recall@1": "exact R@1",
    },
    item="query",
    items="queries",
    items_file="ranks.parquet",
    reference="exact/",
    solved="exact/hit@10",
    curve="recall",
    hidden=("hit@",),
    by_part=("recall@1", "recall@5"),
)

SIMILARITY = EvaluationSchema(
    name="similarity",
    headline="spearman",
    columns={"spearman": "Spearman", "pearson": "Pearson", "weighted/spearman": "weighted Spearman"},
    item="pair",
    items="pairs",
    items_file="pairs.parquet",
    by_part=("spearman",),
    unused=("index.", "eval.ks", "eval.retrieve", "eval.max_corpus", "eval.paddle_compat", "train.eval_corpus"),
    lowest=-100.0,
)

SCHEMAS = {schema.name: schema for schema in (RETRIEVAL, SIMILARITY)}
