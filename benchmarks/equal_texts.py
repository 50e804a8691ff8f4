"""Rows at equal texts encoded, a column for each data set: every strategy minus the baseline.

    python benchmarks/equal_texts.py reports/results/tokens/records

The records are those with ``budget.texts``. The baseline's row has its metric, every other row its difference with the
95 % CI of that pair alone (bold: p, corrected for all rows against the baseline, is at most 0.05), or with ``--short``
without the interval. Rows that were not tested have none. Rows are in the order of their mean difference over the sets
that they have.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from statistics import mean

from converged import difference

from bench.compare.comparison import compare
from bench.compare.per_query import of_runs
from bench.compare.seed_groups import group
from bench.compare.select import fitting, select
from bench.record.ledger import read

SETTINGS = {"rate": "train.lr", "batch": "train.batch_size"}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("runs_dir", type=Path)
    options.add_argument("words", nargs="*", help="key=value: only records with these settings")
    options.add_argument("--baseline", default="strategy=in_batch train.batch_size=128", help="words that fit one row")
    options.add_argument("--metric", default="recall@1")
    options.add_argument("--short", action="store_true", help="no intervals")
    args = options.parse_args()
    equal = [record for record in read(args.runs_dir).records if record.setting.get("budget.texts")]
    cells: dict[tuple[str, ...], dict[str, str]] = defaultdict(dict)
    values: dict[tuple[str, ...], list[float]] = defaultdict(list)
    sets = group(select(equal, args.words), lambda record: record.data["name"])
    for name, records in sets.items():
        compared = compare(records, of_runs(args.runs_dir), args.metric)
        rows = [row.group.records for row in compared.rows]
        places = [place for place, runs in enumerate(rows) if fitting(runs, *args.baseline.split())]
        if len(places) != 1:
            raise SystemExit(f"{name}: {len(places)} rows fit --baseline {args.baseline!r}; one must")
        (baseline,) = places
        for place, runs in enumerate(rows):
            key = (f"`{runs[0].strategy}`", *(f"{runs[0].setting[setting]:g}" for setting in SETTINGS.values()))
            if name in cells[key]:
                raise SystemExit(f"{name}: two rows are {', '.join(key)}; select one with key=value")
            value, pair = compared.rows[place].metrics[args.metric].mean, compared.pair(place, baseline)
            if place == baseline or pair:
                shown = difference(compared, place, baseline) or f"{value:.1f}"
                cells[key][name] = shown.split(" (")[0] if args.short else shown
                values[key].append(pair.difference if pair else 0.0)
    budgets = [f"{name} ({records[0].setting['budget.texts']:,})" for name, records in sets.items()]
    print("| " + " | ".join(["strategy", *SETTINGS, *budgets]) + " |")
    print("| --- |" + " ---: |" * (len(SETTINGS) + len(sets)))
    for key in sorted(values, key=lambda key: -mean(values[key])):
        print("| " + " | ".join([*key, *(cells[key].get(name, "") for name in sets)]) + " |")


if __name__ == "__main__":
    main()
