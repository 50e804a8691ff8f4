"""Records of runs that never were, with values of single queries, for tests of records, comparisons and reports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd

from bench.compare.comparison import Comparison, compare
from bench.compare.interval import Values
from bench.record.record import Record
from bench.record.store import RunDirectory

QUERIES = 300
LEVELS = {"mnr": 0.5, "mined_hard": 0.7, "in_batch": 0.7}


def run(strategy: str, seed: int, **changes: Any) -> Record:
    knobs = changes.pop("knobs", {"scale": 20.0})
    train = {"batch_size": 32, "max_steps": 100, "init_from": None, **changes.pop("train", {})}
    config = {
        "strategy": {"name": strategy, **knobs},
        "data": {"name": "../data/faq"},
        "train": train,
        "eval": {"retrieve": 50, "split": "test"},
        "seed": seed,
    }
    fields: dict[str, Any] = {
        "run_id": f"{strategy}-{seed}-{crc32(f'{sorted(changes.items())} {knobs}'.encode()) % 997}",
        "strategy": strategy,
        "knobs": knobs,
        "data": {"name": "faq", "fingerprint": "f00d", "counts": {}},
        "encoder": {"name": "minilm-l3"},
        "seed": seed,
        "status": "finished",
        "command": f"bench run strategy={strategy} seed={seed}",
        "config": config,
        "split": "test",
        "started": "2026-01-01T00:00:00+00:00",
        "finished": "2026-01-01T00:01:00+00:00",
        "selection": {"steps": 100},
        "cost": {"train_s": 10.0, "mine_s": 0.0, "texts_encoded": 6400.0, "peak_memory_mb": 500.0},
        "baseline_metrics": {"recall@1": 20.0},
    }
    return Record(**{**fields, **changes})


def record(**changes: Any) -> Record:
    """One in which every field that has to be is given, for tests of records themselves."""
    fields: dict[str, Any] = {
        "run_id": "in_batch-quora-s1-00c0ffee",
        "strategy": "in_batch",
        "knobs": {"scale": 30.0, "margin": 0.2},
        "data": {"name": "quora", "fingerprint": "f00d", "counts": {"passages": 10}},
        "encoder": {"name": "minilm", "pooling": "mean"},
        "seed": 1,
        "status": "finished",
        "command": "bench run strategy=in_batch",
        "config": {"seed": 1, "strategy": {"name": "in_batch"}, "data": {"name": "quora"}},
        "split": "dev",
        "started": "2025-01-01T00:00:00+00:00",
        "metrics": {"recall@1": 51.3, "exact/recall@1": 51.4},
    }
    return Record(**{**fields, **changes})


class Runs:
    """Records with per-query values of recall@1, drawn around a level for each strategy."""

    def __init__(self, levels: dict[str, float], seeds: Sequence[int] = (1, 2, 3), **changes: Any) -> None:
        rng = np.random.default_rng(0)
        difficulty = rng.random(QUERIES)
        self.values: dict[str, Values] = {}
        self.records = []
        for strategy, level in levels.items():
            for seed in seeds:
                hit = (difficulty + rng.normal(0, 0.1, QUERIES) < level) * 100.0
                metrics = {"recall@1": float(hit.mean()), "exact/recall@1": float(hit.mean()) + 1}
                self.records.append(run(strategy, seed, **{"metrics": metrics, **changes}))
                self.values[self.records[-1].run_id] = hit

    def add(self, other: Runs) -> Runs:
        """These with the records of ``other`` behind them."""
        self.records += other.records
        self.values |= other.values
        return self

    def per_query(self, record: Record, metric: str) -> tuple[Values, Values]:
        return np.arange(QUERIES), self.values[record.run_id]

    def compare(self, **options: Any) -> Comparison:
        return compare(self.records, self.per_query, resamples=1000, **options)

    def write(self, root: Path) -> Path:
        """All of them as run directories under ``root``."""
        for record in self.records:
            with RunDirectory.open(root, record.run_id) as directory:
                values = self.values[record.run_id]
                items = pd.DataFrame({"query": np.arange(len(values)), "recall@1": values, "exact/hit@10": values})
                directory.write_items(items, record.evaluation_schema.items_file)
                directory.write_record(record)
        return root
