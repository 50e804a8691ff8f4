"""Ties of scores: no order of a corpus decides a metric, and the record counts the queries that ties decide."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data.dataset import Floats, Ids, Ragged, Split
from bench.data.tokens import Tokens
from bench.evaluate import EvalConfig, Measured, evaluate
from bench.evaluate.ties import warnings
from bench.model.embedding import encode
from bench.search import IndexConfig, registered
from tests.tiny import bench, words_for
from tests.toys import DATA, toy_encoder

CONFIG = EvalConfig(ks=(1, 3, 8), retrieve=8)
GENEROUS = IndexConfig(m=32, ef_construction=300, ef=300)
DIM = 12


def corners(rng: np.random.Generator, distinct: int, copies: int) -> Floats:
    """[distinct * copies, DIM] corners of a cube, each several times: their products are whole numbers."""
    return np.repeat(rng.choice(np.float32([-1, 1]), (distinct, DIM)), copies, axis=0)


def measure(queries: Floats, corpus: Floats, rows: list[list[int]], index: IndexConfig = GENEROUS) -> Measured:
    return evaluate(queries, corpus, Split(np.arange(len(rows)), Ragged.of(rows)), {}, CONFIG, index)


def ranks_by_loop(query: Floats, corpus: Floats, relevant: list[int]) -> list[int]:
    """The rank of each relevant passage over the whole corpus, the relevant ones being last of their equals."""
    scores = [sum(float(a) * float(b) for a, b in zip(query, passage, strict=True)) for passage in corpus]
    order = sorted(range(len(corpus)), key=lambda p: (-scores[p], p in relevant))
    return sorted(order.index(p) + 1 for p in relevant)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(seed=st.integers(0, 10_000), copies=st.integers(1, 5))
def test_metrics_are_those_of_a_loop_that_ranks_relevant_passages_last(seed: int, copies: int) -> None:
    rng = np.random.default_rng(seed)
    corpus, queries = corners(rng, 12, copies), corners(rng, 5, 1)
    rows = [[int(p)] for p in rng.integers(0, len(corpus), 5)]
    found = measure(queries, corpus, rows)
    for q, row in enumerate(rows):
        (rank,) = ranks_by_loop(queries[q], corpus, row)
        assert found.items["exact/rank"].to_numpy(na_value=0)[q] == (rank if rank <= 8 else 0)
        for k in (1, 3, 8):
            assert found.items[f"exact/recall@{k}"][q] == (100 if rank <= k else 0)
        assert found.items["exact/mrr@8"][q] == pytest.approx(100 / rank if rank <= 8 else 0)


@pytest.mark.parametrize("engine", registered())
@pytest.mark.parametrize("seed", range(3))
def test_no_order_of_the_corpus_changes_a_metric(engine: str, seed: int) -> None:
    if not registered()[engine].installed:
        pytest.skip(f"{registered()[engine].package} is not installed")
    rng = np.random.default_rng(seed)
    corpus, queries = corners(rng, 10, 3), corners(rng, 20, 1)
    rows = [rng.choice(30, size=n, replace=False).tolist() for n in rng.integers(1, 4, 20)]
    index = replace(GENEROUS, engine=engine)
    found = measure(queries, corpus, rows, index)
    for order in (np.arange(30)[::-1], rng.permutation(30)):
        place = np.argsort(order)
        other = measure(queries, corpus[order], [place[row].tolist() for row in rows], index)
        assert other.metrics == found.metrics and other.counts == found.counts
    assert 0 < found.counts["tied"] <= 20


def test_an_encoder_that_gives_all_texts_one_vector_finds_nothing() -> None:
    """Its vectors are equal within the accuracy of float32, which no metric may reward."""
    noise = 1e-7 * np.random.default_rng(0).standard_normal((40, DIM))
    one = (np.full((40, DIM), DIM**-0.5) + noise).astype(np.float32)
    found = measure(one[:10], one, [[n] for n in range(10)])
    assert not any(found.metrics.values())
    assert found.counts == {"items": 10, "tied": 10, "exact/tied": 10}


def test_scores_that_differ_are_no_tie() -> None:
    angle = np.linspace(0, 1, 12)
    corpus = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    found = measure(corpus[[0, 0]], corpus, [[7], [8]])
    assert found.items["exact/rank"].tolist()[0] == 8 and found.items["exact/rank"].isna().tolist() == [False, True]
    assert found.counts == {"items": 2, "tied": 0, "exact/tied": 0} and not found.warnings


@pytest.mark.parametrize("outside", [0, 1])
def test_a_tie_at_the_cut_counts_what_lies_beyond_it(outside: int) -> None:
    """Eight are retrieved. The relevant passage ties with the eighth alone, or also with a ninth."""
    angle = np.concatenate([np.linspace(0, 0.6, 6), np.full(2 + outside, 0.9), np.full(4, 1.4)])
    corpus = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    for relevant in range(6, 8 + outside):
        found = measure(corpus[[0]], corpus, [[relevant]])
        rank = found.items["exact/rank"].to_numpy(na_value=0)[0]
        assert rank == (0 if outside else 8), "its rank would be 9"
        assert found.counts["exact/tied"] == 1


def test_grades_are_last_to_first_within_a_tie() -> None:
    corpus = np.repeat(np.eye(4, dtype=np.float32), 3, axis=0)
    split = Split(np.arange(1), Ragged.of([[0, 1]]), np.array([3, 1], np.float32))
    found = evaluate(corpus[[0]], corpus, split, {}, CONFIG, GENEROUS).metrics["exact/ndcg@8"]
    gain = (1 / np.log2(3) + 3 / np.log2(4)) / (3 / np.log2(2) + 1 / np.log2(3))
    assert found == pytest.approx(100 * gain), "the passage without a grade first, then 1, then 3"


def test_a_warning_comes_from_one_query_in_a_hundred_on() -> None:
    assert not [*warnings(0, 50), *warnings(9, 1000)]
    (told,) = warnings(10, 1000)
    assert "10 of 1,000 queries (1%)" in told
    assert len(list(warnings(1, 20))) == 1


def test_texts_of_equal_tokens_get_one_vector_and_are_encoded_once() -> None:
    encoder = toy_encoder(DATA)
    size = encoder.transformer.config.vocab_size
    rows = [[2, 9, 3], [2, 9, 10, 3], [2, 9, 3], [2, 11, 3], [2, 9, 3]]
    ids = np.array([i for row in rows for i in row], dtype=np.int32)
    assert ids.max() < size
    tokens = Tokens(ids, np.cumsum([0, *map(len, rows)]), np.zeros(5, dtype=np.bool_))
    seen: list[int] = []
    found = encode(encoder, tokens, "fp32", progress=seen.append)
    np.testing.assert_array_equal(found[[2, 4]], found[[0, 0]])
    assert len(np.unique(found, axis=0)) == 3 and sum(seen) == 5
    order: Ids = np.array([4, 3, 1])
    np.testing.assert_allclose(encode(encoder, tokens, "fp32", order), found[order], atol=2e-6)
    kept, place = tokens.distinct(np.array([4, 1, 0, 1]))
    assert kept.tolist() == [4, 1] and place.tolist() == [0, 1, 0, 1]


def test_a_run_does_not_depend_on_the_order_of_its_corpus(tmp_path: Path) -> None:
    """All passages begin with the same words and are cut there: no encoder can distinguish them."""
    passages = [f"{'kaban kador kafel ' * 8} end {number}" for number in range(30)]
    records = []
    for name, corpus in (("first", passages), ("last", passages[::-1])):
        place = tmp_path / name
        place.mkdir()
        (place / "corpus.tsv").write_text("\n".join(corpus))
        (place / "test.tsv").write_text("\n".join(f"query {n}\t{passages[n]}" for n in range(5)))
        words = words_for(place, tmp_path / f"{name}_runs") | {
            "train.max_steps": "0",
            "encoder.max_passage_tokens": "8",
        }
        assert bench("run", *(f"{key}={value}" for key, value in words.items())) == 0
        (path,) = (tmp_path / f"{name}_runs").glob("*/record.json")
        records.append(json.loads(path.read_text()))
    first, last = records
    assert first["metrics"] == last["metrics"] and first["metrics"]["recall@5"] == 0
    assert first["items"] == last["items"] == {"items": 5, "tied": 5, "exact/tied": 5}
    assert "equal scores decide the rank for 5 of 5 queries" in " ".join(first["training"]["warnings"])
