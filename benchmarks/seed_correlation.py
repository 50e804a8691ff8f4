"""The correlation of seeds over rows, and the evidence that rows' variances differ, in tables of published records.

    python benchmarks/seed_correlation.py reports/results/records reports/results/tokens/records

For each table of rows with several seeds: rows, the seeds that all of them have, the correlation of a seed's effects on
two rows (the mean covariance of pairs over the mean variance), its one-sided p by permuting each row's seeds, and
the p of Cochran's test of equal variances.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bench.compare.interval import Values
from bench.compare.seed_variance import equality
from bench.record.ledger import read
from reports.parts import parts

PERMUTED = 10_000
LEAST = 3  # seeds of a row


def tables(runs_dir: Path) -> Iterator[tuple[str, Values]]:
    """The title of each part of a report, and its runs' means [rows, seeds] of the metric."""
    for part in parts(read(runs_dir).records, runs_dir):
        name = part.comparison.metric
        runs = [{r.seed: r.metrics[name] for r in row.group.records} for row in part.comparison.rows]
        several = [row for row in runs if len(row) >= LEAST]
        seeds = sorted(set.intersection(*map(set, several))) if several else []
        if len(several) > 1 and len(seeds) >= LEAST:
            yield part.title, np.array([[row[seed] for seed in seeds] for row in several])


def correlation(means: Values) -> float:
    """The mean covariance of two rows over seeds, divided by the mean variance of a row."""
    rest = means - means.mean(1, keepdims=True)
    own, all_pairs = float(np.square(rest).sum()), float(np.square(rest.sum(0)).sum())
    return (all_pairs - own) / (len(means) - 1) / own


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("runs_dir", type=Path, nargs="+")
    rng = np.random.default_rng(0)
    for title, means in (table for place in options.parse_args().runs_dir for table in tables(place)):
        found = correlation(means)
        null = [correlation(rng.permuted(means, axis=1)) for _ in range(PERMUTED)]
        p = (1 + sum(one >= found - 1e-12 for one in null)) / (PERMUTED + 1)
        rows, seeds = means.shape
        print(f"{title[:66]:66} | {rows:2} | {seeds} | {found:+.2f} | {p:.4f} | {equality(list(means))[2]:.4f}")


if __name__ == "__main__":
    main()
