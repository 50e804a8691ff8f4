"""Rows that trained until dev stopped improving: dev by step, test at the end; whether early steps predict the end.

    python benchmarks/converged.py reports/results/tokens/records

For each data set of the records with ``train.patience``: Recall@1 on dev after so many steps (where every seed was
measured), on test, the difference from the baseline with the 95 % CI of that pair alone (bold: p, corrected for all
rows against the baseline, is at most 0.05), texts encoded, and the smallest and the largest best step over seeds.
Values of one seed are in brackets. A row has the strategy's name where it has more seeds than the strategy's other
rows, and its settings too where not. Then Kendall's tau of the rows' order after the first step on dev, at their best
on dev and on test, over rows with several seeds; where negatives were mined, the share that the start encoder scored
above the positive; and of strategies in two stages, after how many steps of the second one dev was best, and in how
many runs that best is below what the stage started from, by the metric that chose the weights.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from statistics import mean
from typing import Any

from scipy.stats import kendalltau

from bench.compare.comparison import LEVEL, Comparison, compare
from bench.compare.per_query import of_runs
from bench.compare.seed_groups import group
from bench.compare.select import select
from bench.record.files import files_at
from bench.record.ledger import read
from bench.record.record import Record
from reports.curves import Curve, on_dev

ABOVE = "drawn_above"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("runs_dir", type=Path)
    options.add_argument("words", nargs="*", help="key=value: only records with these settings")
    options.add_argument("--steps", default="100,300,500,700,1100")
    options.add_argument("--baseline", default="in_batch")
    args = options.parse_args()
    steps = [*map(int, args.steps.split(","))]
    files = files_at(args.runs_dir)
    stopped = [record for record in read(args.runs_dir).records if record.setting.get("train.patience")]
    for name, records in group(select(stopped, args.words), lambda record: record.data["name"]).items():
        compared = compare(records, of_runs(args.runs_dir))
        _, curves = on_dev(compared, lambda record: files.history(record.run_id))
        print(f"\n**{name}**\n\n| strategy | rate | seeds |" + "".join(f" {step:,} |" for step in steps), end="")
        print(f" test | minus `{args.baseline}` | texts encoded | best steps |")
        print("| --- |" + " ---: |" * (len(steps) + 6))
        for place, curve in enumerate(curves):
            print(line(compared, place, curve, steps, args.baseline))
        whole = [
            (curve.means[steps[0]], curve.best, row.metrics[compared.metric].mean)
            for row, curve in zip(compared.rows, curves, strict=True)
            if len(row.group.records) > 1 and steps[0] in curve.means
        ]
        if len(whole) > 2 and all(len({*values}) > 1 for values in zip(*whole, strict=True)):
            early, best, end = zip(*whole, strict=True)
            taus = (kendalltau(*of).statistic for of in ((early, end), (early, best), (best, end)))
            with_end, with_best, best_with_end = (f"{tau:.2f}".replace("-", "−") for tau in taus)
            print(
                f"\nKendall's tau of {len(whole)} rows with several seeds: {steps[0]} steps (dev) with the end (test) "
                f"{with_end}, with the best on dev {with_best}; the best on dev with the end {best_with_end}"
            )
        for row in compared.rows:
            shares = [(record.training or {}).get("telemetry", {}).get(ABOVE) for record in row.group.records]
            if known := [share for share in shares if share]:
                print(f"negatives above the positive, {row.group.label}: {mean(known):.2f}")
        for row in compared.rows:
            runs = [(record, files.history(record.run_id)) for record in row.group.records]
            if found := [stage for record, events in runs if (stage := second_stage(record, events))]:
                took, worse = [steps for steps, _ in found], [fell for _, fell in found].count(True)
                print(f"second stage of {row.group.label}: best after {span(took)} steps, ", end="")
                print(f"below its start in {worse} of {len(found)} runs")


def second_stage(record: Record, events: Sequence[Mapping[str, Any]]) -> tuple[int, bool] | None:
    """Steps until dev was best in the second stage, and whether that is below the first one's best; None for one stage.

    The first stage ended when so many evaluations in turn as its patience found nothing better.
    """
    name = f"dev/{(record.selection or {}).get('metric')}"
    dev = [(event["step"], event[name]) for event in events if name in event]
    best = end = 0
    for end, (_, value) in enumerate(dev):
        if value > dev[best][1]:
            best = end
        elif end - best == record.setting["train.patience"]:
            break
    if not dev[end + 1 :]:
        return None
    step, value = max(dev[end + 1 :], key=itemgetter(1))
    return step - dev[end][0], value < dev[best][1]


def line(compared: Comparison, place: int, curve: Curve, steps: Sequence[int], baseline: str) -> str:
    """A row of the table; values of one seed, where the baseline has several, are in brackets."""
    row, against = compared.rows[place], compared.baseline(baseline)
    runs = row.group.records
    alone = len(runs) == 1 and against is not None
    same = [len(other.group.records) for other in compared.rows if other.group.strategy == row.group.strategy]
    name = row.group.strategy if len(runs) == max(same) and same.count(len(runs)) == 1 else row.group.label
    best = [(record.selection or {}).get("step") or 0 for record in runs]
    values = [curve.means.get(step) for step in steps] + [row.metrics[compared.metric].mean]
    shown = ["" if value is None else f"({value:.1f})" if alone else f"{value:.1f}" for value in values]
    cells = [
        f"`{name}`",
        f"{runs[0].setting['train.lr']:g}",
        str(len(runs)),
        *shown,
        difference(compared, place, against),
        f"{row.cost['texts_encoded'] or 0:,.0f}",
        span(best),
    ]
    return "| " + " | ".join(cells) + " |"


def span(steps: Sequence[int]) -> str:
    return " to ".join(f"{step:,}" for step in sorted({min(steps), max(steps)}))


def difference(compared: Comparison, place: int, baseline: int | None) -> str:
    """The row minus the baseline, with its interval; empty where it was not tested."""
    pair = None if baseline is None or place == baseline else compared.pair(place, baseline)
    if pair is None:
        return ""
    by, low, high = (
        "0.0" if abs(value) < 0.05 else f"{value:+.1f}".replace("-", "−")
        for value in (pair.difference, pair.low, pair.high)
    )
    return f"{f'**{by}**' if pair.against_second <= LEVEL else by} ({low} to {high})"


if __name__ == "__main__":
    main()
