"""How alike seeds are over rows, and how unequal rows' seeds are, in the tables of the page of November 2026.

    python benchmarks/seed_correlation.py

For each table: rows (equal rows count once), seeds, the correlation of a seed's effects on two rows (the mean
covariance of pairs over the mean variance), its one-sided p by permuting each row's seeds, Bartlett's p of equal
variances.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from scipy import stats

from bench.compare.interval import Values

PAGE = Path(__file__).parents[1] / "reports" / "results" / "2026-11" / "report.html"
PERMUTED = 10_000


def tables() -> dict[str, Values]:
    """The title of each part of the page, and the means [rows, seeds] of its runs."""
    found = {}
    for part in re.split(r"<h2[^>]*>", PAGE.read_text(encoding="utf-8"))[1:]:
        runs = [re.findall(r"seed \d+: ([\d.]+)", row) for row in re.findall(r"(?:seed \d+: [\d.]+(?:, )?)+", part)]
        several = {tuple(map(float, row)) for row in runs if len(row) > 1}
        if len(several) > 1:
            found[part.partition("<")[0]] = np.array(sorted(several))
    return found


def correlation(means: Values) -> float:
    """The mean covariance of two rows over seeds, divided by the mean variance of a row."""
    rest = means - means.mean(1, keepdims=True)
    own, all_pairs = float(np.square(rest).sum()), float(np.square(rest.sum(0)).sum())
    return (all_pairs - own) / (len(means) - 1) / own


def main() -> None:
    rng = np.random.default_rng(0)
    for title, means in tables().items():
        found = correlation(means)
        null = [correlation(rng.permuted(means, axis=1)) for _ in range(PERMUTED)]
        p = (1 + sum(one >= found - 1e-12 for one in null)) / (PERMUTED + 1)
        rows, seeds = means.shape
        print(f"{title[:66]:66} | {rows:2} | {seeds} | {found:+.2f} | {p:.4f} | {stats.bartlett(*means).pvalue:.3f}")


if __name__ == "__main__":
    main()
