"""What a record says of its vectors: the length of their mean, hubs, and what the index loses."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import skew

from bench.data.dataset import Ragged, Split
from bench.evaluate import EvalConfig, evaluate
from bench.evaluate.geometry import hubness, mean_norm
from bench.search import IndexConfig


def unit(rng: np.random.Generator, rows: int, dim: int = 16, shift: float = 0.0) -> np.ndarray:
    drawn = rng.standard_normal((rows, dim)).astype(np.float32)
    drawn[:, 0] += shift
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def test_the_mean_of_opposite_vectors_has_no_length_and_that_of_equal_ones_has_one() -> None:
    vector = unit(np.random.default_rng(0), 1)
    assert mean_norm(np.concatenate([vector, -vector])) == pytest.approx(0.0, abs=1e-6)
    assert mean_norm(np.repeat(vector, 20_000, axis=0)) == pytest.approx(1.0, abs=1e-6)


def test_hubness_is_the_skewness_of_how_often_a_passage_is_found() -> None:
    found = np.random.default_rng(0).geometric(0.1, size=(50, 10)) - 1
    passages = int(found.max()) + 5
    times = [(found == passage).sum() for passage in range(passages)]
    assert hubness(found, passages) == pytest.approx(skew(times))
    assert hubness(np.arange(20).reshape(10, 2), 20) == 0.0, "each is found once"


def test_a_common_mean_shows_in_what_a_run_records() -> None:
    rng = np.random.default_rng(1)
    split = Split(np.arange(30), Ragged.of([[row] for row in range(30)]))
    found = []
    for shift in (0.0, 4.0):
        passages = unit(rng, 400, shift=shift)
        near = passages[:30] + 0.3 * unit(rng, 30)
        queries = near / np.linalg.norm(near, axis=1, keepdims=True)
        measured = evaluate(queries, passages, split, {}, EvalConfig(ks=(1, 10), retrieve=10), IndexConfig(ef=50))
        found.append(measured.geometry)
        loss = measured.metrics["exact/recall@1"] - measured.metrics["recall@1"]
        assert measured.geometry["index_loss@1"] == pytest.approx(loss)
    assert found[0]["mean_norm"] < 0.2 < 0.6 < found[1]["mean_norm"]
    assert set(found[0]) == {"mean_norm", "hubness@10", "index_loss@1", "index_loss@10"}
