"""What is told of every batch against its definitions as plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from toys import MNR, unit

from bench.negatives import Drawn
from bench.train.telemetry import measure
from strategies import Batch, Loss


@pytest.mark.parametrize("seed", range(4))
def test_telemetry_is_its_definitions_as_loops(seed: int) -> None:
    queries, candidates = unit(4, 5, seed=seed), unit(6, 5, seed=seed + 50)
    relevant = torch.zeros(4, 6, dtype=torch.bool)
    positive = [2, 0, 2, 5]
    for q, p in enumerate(positive):
        relevant[q, p] = True
    relevant[0, 4] = True
    if seed % 2:
        relevant[3] = True  # a query without negatives
    else:
        relevant[3, :4] = True  # a query with one
    teacher = unit(4, 6, seed=seed + 99)
    teacher[1, 3] = torch.nan
    own = torch.tensor([[1, 4], [1, 1], [3, 2], [5, 4]])
    queued = torch.tensor([False, True, False, True, False, False])
    batch = Batch(queries.requires_grad_(), candidates, torch.tensor(positive), relevant, own, teacher, queued=queued)
    batch.similarity.retain_grad()
    MNR.loss(batch).value.backward()
    free = np.array([[False, False], [False, True], [False, False], [True, False]])
    above = np.array([[True, False], [False, False], [True, False], [False, False]])
    drawn = Drawn(own.numpy(), free, above, again=True)
    acted = torch.tensor([True, False, False, False])
    told = measure(batch, Loss(torch.tensor([0.0, 1e-9, 0.2, 3.0]), acted), drawn)
    cosine = [[sum(float(a) * float(b) for a, b in zip(q, c, strict=True)) for c in candidates] for q in queries]
    negatives = [[cosine[q][c] for c in range(6) if not relevant[q, c]] for q in range(4)]
    some = [row for row in negatives if row]

    def mean(values: list[float]) -> float:
        return sum(values) / len(values)

    def spread(row: list[float]) -> float:
        return math.sqrt(mean([(value - mean(row)) ** 2 for value in row]))

    mine = [cosine[q][p] for q, p in enumerate(positive)]
    pulls = [[math.exp(20 * cosine) for cosine in row] for row in some]  # softmax gradients are in this proportion
    suspects = [
        (teacher[q, c] > teacher[q, p]).item()
        for q, p in enumerate(positive)
        for c in range(6)
        if not relevant[q, c] and not teacher[q, c].isnan()
    ]
    places = [(int(own[q, k]), q) for q in range(4) for k in range(2) if not free[q, k]]
    apart = [(candidates[i] - candidates[j]).square().sum().item() for i in range(6) for j in range(6) if i != j]
    wanted = {
        "positive_similarity": mean(mine),
        "negative_similarity": mean([mean(row) for row in some]),
        "hardest_similarity": mean([max(row) for row in some]),
        "positive_rank": mean([1 + sum(value >= mine[q] for value in negatives[q]) for q in range(4)]),
        "active": 0.5,
        "negatives": mean([len(row) for row in negatives]),
        "labelled_masked": mean([(6 - len(row) - 1) / 5 for row in negatives]),
        "spread": mean([spread(row) for row in cosine]),
        "alignment": mean([(queries[q] - candidates[p]).square().sum().item() for q, p in enumerate(positive)]),
        "uniformity": math.log(mean([math.exp(-2 * distance) for distance in apart])),
        "effective_negatives": mean([sum(row) ** 2 / sum(pull**2 for pull in row) for row in pulls]),
        "guide_above": mean([float(above) for above in suspects]),
        "acted": 0.25,
        "queued": mean([float(sum(not relevant[q, c] for c in (1, 3))) for q in range(4)]),
        "drawn": mean([float(len({c for c in own[q].tolist() if not relevant[q, c]})) for q in range(4)]),
        "drawn_again": 1.0,
        "drawn_free": 0.25,
        "drawn_labelled": sum(bool(relevant[q, c]) for c, q in places) / 6,
        "drawn_above": 2 / 6,
    }
    for name, values in {"positive": mine, "negative": [c for row in some for c in row]}.items():
        for part, share in (("p10", 10), ("p50", 50), ("p90", 90)):
            wanted[f"{name}_similarity_{part}"] = float(np.percentile(values, share))
    assert {name: float(value) for name, value in told.items()} == pytest.approx(wanted, rel=1e-5)
