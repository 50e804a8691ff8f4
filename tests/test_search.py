"""One suite that every registered engine of search passes; exact search against a plain sort, block sizes, ties."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.data.dataset import Floats
from bench.errors import UserError
from bench.search import ExactIndex, IndexConfig, base, build, exact, load, registered
from bench.search.base import best_first, register


def unit(rows: int, dim: int, seed: int) -> Floats:
    vectors = np.random.default_rng(seed).standard_normal((rows, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


GENEROUS = IndexConfig(m=32, ef_construction=300, ef=300, threads=1)  # of 300 passages it holds all


def by_plain_sort(corpus: Floats, queries: Floats, k: int) -> tuple[Floats, Floats]:
    """Ids and scores of the ``k`` highest inner products in float64, equal ones by rising id."""
    products = queries.astype(np.float64) @ corpus.T.astype(np.float64)
    ids = np.argsort(-products, axis=1, kind="stable")[:, :k]
    return ids, np.take_along_axis(products, ids, axis=1)


@pytest.fixture(params=registered())
def engine(request: pytest.FixtureRequest) -> str:
    """The name of every engine, one after the other."""
    found = registered()[request.param]
    if not found.installed:
        pytest.skip(f"{found.package} is not installed")
    return found.name


@pytest.fixture
def generous(engine: str) -> IndexConfig:
    return replace(GENEROUS, engine=engine)


# What every engine promises


def test_it_finds_what_a_plain_sort_finds(generous: IndexConfig) -> None:
    corpus, queries = unit(300, 16, 0), unit(50, 16, 1)
    expected, products = by_plain_sort(corpus, queries, 20)
    scores, ids = build(corpus, generous, seed=0).search(queries, 20)
    np.testing.assert_array_equal(ids, expected)
    np.testing.assert_allclose(scores, products, atol=1e-5)
    assert scores.dtype == np.float32 and ids.dtype == np.int64


def test_a_saved_index_finds_the_same(generous: IndexConfig, tmp_path: Path) -> None:
    corpus, queries = unit(300, 16, 0), unit(50, 16, 1)
    made = build(corpus, generous, seed=3)
    made.save(tmp_path / "graph")
    again = load(tmp_path / "graph", corpus, generous)
    for one, other in zip(made.search(queries, 20), again.search(queries, 20), strict=True):
        np.testing.assert_array_equal(one, other)


def test_scores_are_inner_products_of_vectors_of_any_length(generous: IndexConfig) -> None:
    corpus, queries = 3 * unit(300, 16, 0) * np.linspace(0.1, 1, 300, dtype=np.float32)[:, None], unit(50, 16, 1)
    scores, ids = build(corpus, generous, seed=0).search(queries, 5)
    products = [
        [sum(float(a) * float(b) for a, b in zip(query, corpus[i], strict=True)) for i in row]
        for query, row in zip(queries, ids, strict=True)
    ]
    np.testing.assert_allclose(scores, products, atol=1e-5)


def test_it_finds_nearly_all_of_random_vectors(engine: str) -> None:
    corpus, queries = unit(2000, 32, 0), unit(100, 32, 1)
    config = IndexConfig(engine, m=16, ef_construction=200, ef=200, threads=2, build_threads=2)
    scores, ids = build(corpus, config, seed=0).search(queries, 10)
    shared = [len(set(a) & set(b)) for a, b in zip(ids, by_plain_sort(corpus, queries, 10)[0], strict=True)]
    assert np.mean(shared) >= 0.95 * 10
    assert (np.diff(scores, axis=1) <= 0).all()
    assert all(len(set(row)) == 10 for row in ids.tolist())


def test_equal_passages_come_in_order_of_id(generous: IndexConfig) -> None:
    """Corners of a cube: products are whole numbers, so equal passages have equal scores however they are summed."""
    corners = np.random.default_rng(0).choice(np.float32([-1, 1]), (20, 16))
    corpus = np.repeat(corners, 3, axis=0)
    _, ids = build(corpus, generous, seed=0).search(corners, 3)
    np.testing.assert_array_equal(ids, np.arange(60).reshape(20, 3))


def test_by_default_one_seed_gives_one_index_whatever_the_threads_of_the_search(engine: str) -> None:
    corpus, queries = unit(1000, 16, 0), unit(100, 16, 1)
    narrow = IndexConfig(engine, m=2, ef_construction=10, ef=20)  # a graph misses passages, so it can differ
    again = replace(narrow, threads=1, build_threads=1)
    asked = ((narrow, 1), (again, 1), (narrow, 2))
    first, second, other = (build(corpus, config, seed).search(queries, 20) for config, seed in asked)
    np.testing.assert_array_equal(first[1], second[1])
    np.testing.assert_array_equal(first[0], second[0])
    assert (first[1] != other[1]).any() == registered()[engine].has_ef


@pytest.mark.parametrize("queries", [0, 1, 2])
def test_it_takes_any_number_of_queries(generous: IndexConfig, queries: int) -> None:
    corpus = unit(30, 4, 0)
    scores, ids = build(corpus, generous, seed=0).search(corpus[:queries], 3)
    assert scores.shape == ids.shape == (queries, 3)
    assert ids[:, 0].tolist() == list(range(queries))


def test_it_takes_doubles_and_views_and_leaves_them_as_they_are(generous: IndexConfig) -> None:
    corpus, queries = unit(300, 16, 0), unit(50, 16, 1)
    expected = build(corpus, generous, seed=0).search(queries, 5)
    views = [np.asfortranarray(vectors.astype(np.float64)) for vectors in (corpus, queries)]
    for view in views:
        view.flags.writeable = False
    found = build(views[0], generous, seed=0).search(views[1], 5)
    np.testing.assert_array_equal(found[1], expected[1])
    np.testing.assert_array_equal(found[0], expected[0])


def test_it_returns_the_whole_corpus(generous: IndexConfig) -> None:
    corpus = unit(12, 4, 0)
    assert np.sort(build(corpus, generous, seed=0).search(corpus, 12)[1]).tolist() == [list(range(12))] * 12


def test_refusals(generous: IndexConfig) -> None:
    corpus = unit(12, 4, 0)
    with pytest.raises(UserError, match="k=13 but the index has 12 passages"):
        build(corpus, generous, 0).search(corpus, 13)
    with pytest.raises(UserError, match="k=0"):
        build(corpus, generous, 0).search(corpus, 0)
    bad = corpus.copy()
    bad[7, 2] = np.nan
    with pytest.raises(UserError, match="passage 7 is not finite"):
        build(bad, generous, 0)
    with pytest.raises(UserError, match="query 7 is not finite"):
        build(corpus, generous, 0).search(bad, 3)


def test_an_ef_below_k_is_refused_where_there_is_an_ef(engine: str) -> None:
    corpus, config = unit(60, 4, 0), IndexConfig(engine, ef=10, threads=1)
    if not registered()[engine].has_ef:
        config.check(50)
        assert build(corpus, config, seed=0).search(corpus, 50)[1].shape == (60, 50)
        return
    told = r"index\.ef=10 is smaller than the 50 passages that are retrieved; set index\.ef to at least 50"
    with pytest.raises(UserError, match=told):
        config.check(50)
    with pytest.raises(UserError, match=told):
        build(corpus, config, seed=0).search(corpus, 50)


def test_the_number_of_threads_of_the_libraries_is_as_it_was(generous: IndexConfig) -> None:
    faiss, torch = pytest.importorskip("faiss"), pytest.importorskip("torch")
    before, corpus = (faiss.omp_get_max_threads(), torch.get_num_threads()), unit(100, 8, 0)
    for threads in (1, 3):
        build(corpus, replace(generous, threads=threads), seed=0).search(corpus, 5)
        assert (faiss.omp_get_max_threads(), torch.get_num_threads()) == before


def test_a_graph_with_too_few_links_never_makes_passages_up(engine: str) -> None:
    corpus = np.repeat(unit(50, 8, 0), 10, axis=0)
    poor = build(corpus, IndexConfig(engine, m=2, ef_construction=1, threads=1), seed=0)
    try:
        scores, ids = poor.search(corpus, 50)
    except UserError as error:
        assert "raise index.m=2 or index.ef_construction=1" in str(error)
        return
    assert all(len(set(row)) == 50 and set(row) <= set(range(500)) for row in ids.tolist())
    np.testing.assert_allclose(scores, np.einsum("qd,qkd->qk", corpus, corpus[ids]), atol=1e-5)


# The registry


def test_nothing_is_imported_before_an_index_is_built() -> None:
    libraries = {"torch", *(found.package for found in registered().values() if found.package)}
    code = f"import sys; from bench.search import IndexConfig; IndexConfig(); print({libraries} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_missing_package_is_told_with_what_to_install(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(base, "import_module", missing)
    config, package = IndexConfig(engine), registered()[engine].package  # a record of it can still be read
    if package is None:
        config.require()
        return
    with pytest.raises(UserError, match=rf"index\.engine={engine} needs the package {package}: `pip install -e"):
        build(unit(5, 4, 0), config, seed=0)


def test_two_engines_cannot_have_one_name() -> None:
    with pytest.raises(ValueError, match="two engines of search are called 'exact'"):
        register("exact")(exact.Exact)


def test_an_engine_that_is_not_known_is_told_with_those_that_are() -> None:
    with pytest.raises(UserError, match=r"index\.engine='annoy' is not one of .*hnswlib"):
        IndexConfig("annoy")


# Exact search


@pytest.fixture(params=["faiss", "torch"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
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
    library: str, values: list[list[int]], queries: list[list[int]], data: st.DataObject
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


def test_exact_does_not_depend_on_the_size_of_its_blocks(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus, queries = unit(20000, 8, 0), unit(33, 8, 1)
    expected = np.argsort(-(queries.astype(np.float64) @ corpus.T.astype(np.float64)), axis=1)[:, :10]
    for memory_mb, rows in ((1, 7), (256, 4096)):
        monkeypatch.setattr(exact, "BY_FAISS", rows)
        np.testing.assert_array_equal(ExactIndex(corpus, memory_mb=memory_mb).search(queries, 10)[1], expected)


@settings(deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 99)), unique_by=lambda p: p[1]))
def test_best_first_sorts_by_falling_score_then_rising_id(pairs: list[tuple[float, int]]) -> None:
    scores, ids = best_first(np.array([[s for s, _ in pairs]], np.float32), np.array([[i for _, i in pairs]], np.int64))
    expected = sorted(pairs, key=lambda p: (-p[0], p[1]))
    assert list(zip(scores[0].tolist(), ids[0].tolist(), strict=True)) == expected


@pytest.mark.parametrize("wrong", [{"m": 1}, {"ef": 0}, {"ef_construction": 0}, {"threads": -1}, {"build_threads": -1}])
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
