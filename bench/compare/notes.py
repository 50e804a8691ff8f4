"""What a reader of a comparison must know beside its numbers: sentences about its rows."""

from __future__ import annotations

from collections.abc import Sequence

from bench.compare.comparability import pairs_a_step
from bench.compare.interval import Values
from bench.compare.row import StrategyRow, items_of
from bench.compare.seed_groups import group
from bench.compare.seed_variance import equality, paired_by_seed

NAMED = 8  # rows that a note names
FEW_ITEMS = 100  # queries or pairs of a test set below which a note says that it is small


def on_rows(rows: Sequence[StrategyRow], metric: str) -> list[str]:
    """Notes on rows that are not what their label alone says, or say less than their numbers do."""
    labelled = [f"{row.group.label} has {given}" for row in rows if (given := row.group.unlabelled)]
    return [
        *labelled,
        *_transductive(rows),
        *_seen(rows),
        *_few_items(rows[0], metric),
        *_few_steps(rows),
        *_whole_batches(rows),
        *_few_seeds(rows, metric),
    ]


def _transductive(rows: Sequence[StrategyRow]) -> list[str]:
    """A note on the rows whose post-processing has seen the texts that are evaluated."""
    settings = [(row.group.label, row.group.records[0].encoder) for row in rows]
    seen = [label for label, of in settings if of.get("post", "none") != "none" and of["post_on"] != "train"]
    what = "post-processing is fitted on all texts, those that are evaluated included (transductive)"
    return [f"{what}: {', '.join(seen)}"] if seen else []


def _few_items(row: StrategyRow, metric: str) -> list[str]:
    """A note where the table has so few queries, or pairs, that only large differences can be significant."""
    record = row.group.records[0]
    n = items_of(record, metric)
    if n is None or n >= FEW_ITEMS:
        return []
    return [f"only {n} {record.evaluation_schema.items}, so only large differences can be significant"]


def _seen(rows: Sequence[StrategyRow]) -> list[str]:
    """A note where queries that are measured are also trained on."""
    trained = [row.group.records[0] for row in rows if row.cost.get("steps")]
    record = max(trained, key=lambda record: record.data.get("seen_queries", 0), default=None)
    if record is None or not (seen := record.data.get("seen_queries", 0)):
        return []
    total = record.data["counts"].get(f"{record.split}_queries", 0)
    return [f"{seen:,} of {total:,} {record.split} queries are also train queries"]


def _few_steps(rows: Sequence[StrategyRow]) -> list[str]:
    """A note on the rows with less than half as many steps of training as another row of the same budget of texts."""
    if any(row.group.records[0].setting.get("budget.texts") is None for row in rows):
        return []
    most = max(rows, key=lambda row: row.cost.get("steps") or 0)
    steps = most.cost.get("steps") or 0
    few = []
    for row in rows:
        if 0 < (count := row.cost.get("steps") or 0) < steps / 2:
            mined = (row.cost.get("mine_texts") or 0) / (row.cost.get("texts_encoded") or 1)
            share = f", {100 * mined:.0f} % of the texts for mining" if mined else ""
            few.append(f"{row.group.label} ({count:,.0f}{share})")
    told = f"fewer than half as many steps as {most.group.label} ({steps:,.0f})"
    return [f"{told}: {_named(few)}"] if few else []


def _whole_batches(rows: Sequence[StrategyRow]) -> list[str]:
    """A note on the rows whose batch is larger than the data: every step has all pairs."""
    trained = [(row.group.label, row.group.records[0]) for row in rows if row.cost.get("steps")]
    larger = [label for label, of in trained if pairs_a_step(of) < of.config.get("train", {}).get("batch_size", 0)]
    told = "every step has all training pairs, because train.batch_size is larger"
    return [f"{told}: {', '.join(larger)}"] if larger else []


def _few_seeds(rows: Sequence[StrategyRow], metric: str) -> list[str]:
    """Notes on the rows whose interval is missing or uncertain because they have one seed or two."""
    said = {
        1: "one seed, so no interval and no test",
        2: "two seeds, which say little about the spread over seeds, so the interval is wide",
    }
    by_count = group(rows, lambda row: row.metrics[metric].n)
    return [
        f"{text}: {_named([row.group.label for row in few])}" for n, text in said.items() if (few := by_count.get(n))
    ]


def _named(rows: Sequence[str]) -> str:
    """The rows by name; of many their number."""
    return ", ".join(rows) if len(rows) <= NAMED else f"{len(rows)} rows"


def on_seeds(rows: Sequence[StrategyRow], values: Sequence[Values]) -> str:
    """A note: how strongly the data speak against equal variances over seeds, and whether rows are paired by seed."""
    largest, share, p = equality([of_row.mean(1) for of_row in values])
    by_seed = "paired" if paired_by_seed([row.group.seeds for row in rows]) else "not paired"
    if p >= 1:
        return f"variances over seeds are equal, or nearly so, in all rows. Rows are {by_seed} by seed"
    return (
        f"variances over seeds: {rows[largest].group.label} has the largest, {100 * share:.0f} % of the sum of all "
        f"rows'; Cochran's test of equal variances has p {p:.4f} (the test of differences does not need them to be "
        "equal). "
        f"Rows are {by_seed} by seed"
    )
