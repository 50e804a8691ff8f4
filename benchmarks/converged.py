"""Rows that trained until dev stopped improving: dev by step, test at the end, and whether the first predicts the second.

    python benchmarks/converged.py reports/results/tokens/records

For each data set of the records with ``train.patience``: Recall@1 on dev after so many steps (where every seed was
measured), on test, the difference from the baseline with the 95 % CI of that pair alone (``*``: p, corrected for all
rows against the baseline, is at most 0.05), texts encoded, the seeds, and the ratio of the largest to the smallest best
step over seeds. Then Kendall's tau of the rows' order after the first step with that on test, over rows that have all
seeds; and, where negatives were mined, the share that the start encoder scored above the positive.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import mean

from scipy.stats import kendalltau

from bench.compare.comparison import LEVEL, Comparison, StrategyRow, compare
from bench.compare.per_query import of_runs
from bench.compare.seed_groups import group
from bench.compare.select import select
from bench.record.files import files_at
from bench.record.ledger import read
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
        _, found = on_dev(compared, lambda record: files.history(record.run_id))
        print(f"\n{name}\n\n| row |" + "".join(f" {step:,} |" for step in steps), end="")
        print(f" test | minus `{args.baseline}` | texts encoded | seeds | best steps |")
        print("| --- |" + " ---: |" * (len(steps) + 5))
        for place, (row, curve) in enumerate(zip(compared.rows, found, strict=True)):
            print(line(row, curve, steps, difference(compared, place, compared.baseline(args.baseline))))
        most = max(len(row.group.records) for row in compared.rows)
        whole = [
            (curve.means[steps[0]], row.metrics[compared.metric].mean)
            for row, curve in zip(compared.rows, found, strict=True)
            if len(row.group.records) == most and steps[0] in curve.means
        ]
        if len(whole) > 2:
            tau = kendalltau(*zip(*whole, strict=True)).statistic
            print(f"\nKendall's tau, {steps[0]} steps with the end: {tau:.2f} of {len(whole)} rows with {most} seeds")
        for row in compared.rows:
            shares = [(record.training or {}).get("telemetry", {}).get(ABOVE) for record in row.group.records]
            if known := [share for share in shares if share]:
                print(f"negatives above the positive, {row.group.label}: {mean(known):.2f}")


def line(row: StrategyRow, curve: Curve, steps: list[int], against: str) -> str:
    """The table's line of a row."""
    dev = "".join(f" {curve.means[step]:.1f} |" if step in curve.means else "  |" for step in steps)
    best = [(record.selection or {}).get("step") or 0 for record in row.group.records]
    apart = f"{max(best) / min(best):.1f}" if len(best) > 1 and min(best) else ""
    test = row.metrics["recall@1"].mean
    texts = f"{row.cost['texts_encoded'] or 0:,.0f}"
    return f"| `{row.group.label}` |{dev} {test:.1f} | {against} | {texts} | {len(best)} | {apart} |"


def difference(compared: Comparison, place: int, baseline: int | None) -> str:
    """The row minus the baseline, with its interval; empty where it was not tested."""
    pair = None if baseline is None or place == baseline else compared.pair(place, baseline)
    if pair is None:
        return ""
    mark = "*" if pair.against_second <= LEVEL else ""
    return f"{pair.difference:+.1f} ({pair.low:+.1f} to {pair.high:+.1f}){mark}"


if __name__ == "__main__":
    main()
