"""Exact search against a plain sort, HNSW against exact search, and what either refuses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.data.dataset import Floats
from bench.errors import UserError
from bench.search import ExactIndex, HnswIndex, Index, IndexConfig, exact
from bench.search.base import best_first


def unit(rows: int, dim: int, seed: int) -> Floats:
    vectors = np.random.default_rng(seed).standard_normal((rows, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


ONE_THREAD = IndexConfig(m=16, ef_construction=100, ef=100, threads=1)


@pytest.fixture(params=["faiss", "torch"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What exact search searches with."""
    if request.param == "torch":
        monkeypatch.setattr(exact, "_faiss", lambda: None)
    else:
        pytest.importorskip("faiss")
    return str(request.param)


@settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(st.lists(st.integers(-2, 2), min_size=2, max_size=2), min_size=1, max_size=30),
    queries=st.lists(st.lists(st.integers(-2, 2), min_size=2, max_size=2), min_size=1, max_size=8),
    data=st.data(),
)
def test_exact_is_a_plain_sort_by_score_then_id(
    engine: str, values: list[list[int]], queries: list[list[int]], data: st.DataObject
) -> None:
    """Small whole numbers: products are exact and ties are many, at the last place too."""
    k = data.draw(st.integers(1, len(values)))
    scores, ids = ExactIndex(np.array(values, np.float32)).search(np.array(queries, np.float32), k)
    assert scores.dtype == np.float32 and ids.dtype == np.int64
    for query, row, found in zip(queries, scores, ids, strict=True):
        products = [sum(a * b for a, b in zip(query, value, strict=True)) for value in values]
        expected = sorted(range(len(values)), key=lambda i: (-products[i], i))[:k]
        assert found.tolist() == expected
        assert row.tolist() == [products[i] for i in expected]


def test_exact_does_not_depend_on_the_size_of_its_blocks(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus, queries = unit(20000, 8, 0), unit(33, 8, 1)
    expected = np.argsort(-(queries.astype(np.float64) @ corpus.T.astype(np.float64)), axis=1)[:, :10]
    for memory_mb, rows in ((1, 7), (256, 4096)):
        monkeypatch.setattr(exact, "BY_FAISS", rows)
        np.testing.assert_array_equal(ExactIndex(corpus, memory_mb=memory_mb).search(queries, 10)[1], expected)


def test_exact_takes_no_queries() -> None:
    scores, ids = ExactIndex(unit(5, 4, 0)).search(np.empty((0, 4), np.float32), 3)
    assert scores.shape == ids.shape == (0, 3)


def test_hnsw_that_holds_every_candidate_agrees_with_exact() -> None:
    corpus, queries = unit(300, 16, 0), unit(50, 16, 1)
    config = IndexConfig(m=32, ef_construction=300, ef=300, threads=1)
    scores, ids = HnswIndex(corpus, config, seed=0).search(queries, 20)
    expected_scores, expected = ExactIndex(corpus).search(queries, 20)
    np.testing.assert_array_equal(ids, expected)
    np.testing.assert_allclose(scores, expected_scores, atol=1e-6)
    assert scores.dtype == np.float32 and ids.dtype == np.int64
    assert (np.diff(scores, axis=1) <= 0).all()


def test_hnsw_scores_are_inner_products_of_the_passages_it_names() -> None:
    corpus, queries = unit(2000, 16, 0), unit(50, 16, 1)
    scores, ids = HnswIndex(corpus, IndexConfig(threads=2), seed=0).search(queries, 50)
    np.testing.assert_allclose(scores, np.einsum("qd,qkd->qk", queries, corpus[ids]), atol=1e-6)
    exact_ids = ExactIndex(corpus).search(queries, 50)[1]
    shared = [len(set(a) & set(b)) for a, b in zip(ids.tolist(), exact_ids.tolist(), strict=True)]
    assert np.mean(shared) > 0.95 * 50


def test_one_thread_builds_the_same_graph_twice() -> None:
    corpus, queries = unit(1000, 16, 0), unit(100, 16, 1)
    narrow = IndexConfig(m=2, ef_construction=10, ef=20, threads=1)  # misses passages, so graphs can differ
    first, second, other = (HnswIndex(corpus, narrow, seed).search(queries, 20)[1] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


@settings(deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 99)), unique_by=lambda p: p[1]))
def test_best_first_sorts_by_falling_score_then_rising_id(pairs: list[tuple[float, int]]) -> None:
    scores, ids = best_first(np.array([[s for s, _ in pairs]], np.float32), np.array([[i for _, i in pairs]], np.int64))
    expected = sorted(pairs, key=lambda p: (-p[0], p[1]))
    assert list(zip(scores[0].tolist(), ids[0].tolist(), strict=True)) == expected


def test_equal_passages_come_in_order_of_id_from_hnsw_too() -> None:
    corpus = np.repeat(unit(20, 16, 0), 3, axis=0)
    _, ids = HnswIndex(corpus, ONE_THREAD, seed=0).search(corpus[::3], 3)
    np.testing.assert_array_equal(ids, np.arange(60).reshape(20, 3))


@pytest.mark.parametrize("kind", ["exact", "hnsw"])
def test_refusals(kind: str) -> None:
    corpus = unit(12, 4, 0)

    def build(vectors: Floats) -> Index:
        return ExactIndex(vectors) if kind == "exact" else HnswIndex(vectors, ONE_THREAD, seed=0)

    with pytest.raises(UserError, match="k=13 but the index has 12 passages"):
        build(corpus).search(corpus, 13)
    with pytest.raises(UserError, match="k=0"):
        build(corpus).search(corpus, 0)
    bad = corpus.copy()
    bad[7, 2] = np.nan
    with pytest.raises(UserError, match="passage 7 is not finite"):
        build(bad)
    with pytest.raises(UserError, match="query 7 is not finite"):
        build(corpus).search(bad, 3)


def test_hnsw_refuses_an_ef_below_k() -> None:
    corpus = unit(60, 4, 0)
    with pytest.raises(UserError, match=r"index\.ef=10 is smaller than k=50; set index\.ef to at least 50"):
        HnswIndex(corpus, IndexConfig(ef=10, threads=1), seed=0).search(corpus, 50)


def test_a_graph_with_too_few_links_is_told() -> None:
    corpus = np.repeat(unit(50, 8, 0), 10, axis=0)
    poor = HnswIndex(corpus, IndexConfig(m=2, ef_construction=1, threads=1), seed=0)
    with pytest.raises(UserError, match=r"raise index\.m=2 or index\.ef_construction=1"):
        poor.search(corpus, 50)


@pytest.mark.parametrize("wrong", [{"m": 1}, {"ef": 0}, {"ef_construction": 0}, {"threads": -1}])
def test_settings_out_of_range_are_named(wrong: dict[str, int]) -> None:
    ((key, value),) = wrong.items()
    with pytest.raises(UserError, match=rf"index\.{key}={value}"):
        IndexConfig(**wrong)


@pytest.mark.gpu
def test_cuda_agrees_with_the_cpu() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    corpus, queries = unit(5000, 64, 0), unit(100, 64, 1)
    torch.set_float32_matmul_precision("high")
    try:
        on_gpu = ExactIndex(corpus, "cuda").search(queries, 10)
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")
    np.testing.assert_allclose(on_gpu[0], ExactIndex(corpus).search(queries, 10)[0], atol=1e-6)
