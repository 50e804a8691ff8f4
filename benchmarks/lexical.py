"""What BM25 alone finds: Recall@1 and Recall@10 of a split, and their difference, before anything is trained.

    python benchmarks/lexical.py ../shared/data/medquad ../shared/data/finqa10k docstrings

Where Recall@10 is far above Recall@1, passages that share the query's words are often not its answer: they are hard
negatives that searching by words finds. ``docs/findings.md`` sets the difference beside what mining gained.
"""

from __future__ import annotations

import argparse

import numpy as np

from bench.config.overrides import resolve
from bench.data import load
from bench.evaluate.metrics import judge, means, per_query
from bench.negatives.searchers import BM25Searcher

FIRST = 10


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("data", nargs="+")
    options.add_argument("--split", default="test")
    options.add_argument("--queries", type=int, default=1000)
    options.add_argument("--settings", default="", help="settings of the data, separated by spaces")
    args = options.parse_args()
    print(f"{'data':24} {'queries':>8} {'passages':>9} {'R@1':>6} {'R@10':>6} {'R@10 - R@1':>11}")
    for name in args.data:
        data = load(resolve([f"data={name}", *args.settings.split()]).data)
        if args.split not in data.splits:
            raise SystemExit(
                f"{name} has no split {args.split} of queries and passages; there is {', '.join(data.splits)}"
            )
        split = data.splits[args.split]
        rows = np.random.default_rng(0).permutation(len(split))[: args.queries]
        relevant = split.relevant.take(rows)
        _, ids, _ = BM25Searcher(data, split).search(rows, FIRST, relevant)
        first, ten = means(per_query(judge(ids, relevant), ("recall@1", f"recall@{FIRST}"))).values()
        counts = f"{len(rows):>8,} {len(data.passages):>9,}"
        print(f"{data.name:24} {counts} {first:6.1f} {ten:6.1f} {ten - first:11.1f}")


if __name__ == "__main__":
    main()
