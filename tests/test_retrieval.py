"""The evaluation of vectors by retrieval, and PaddleNLP's recall file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.data.dataset import Floats, Ids, Ragged, Split
from bench.errors import UserError
from bench.evaluate import EvalConfig, Measured, evaluate
from bench.evaluate.recall_file import check_texts, evaluate_file, write_file
from bench.search import ExactIndex, IndexConfig, registered

CORPUS, QUERIES = 300, 40
CONFIG = EvalConfig(ks=(1, 5, 20), retrieve=20)
INDEX = IndexConfig(m=16, ef_construction=300, ef=300, threads=1)  # finds all: HNSW agrees with exact


def unit(rows: int, dim: int, seed: int) -> Floats:
    vectors = np.random.default_rng(seed).standard_normal((rows, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def scene(single: bool = True) -> tuple[Floats, Floats, Split]:
    """Each query is a blurred copy of its relevant passage (or has two more), so recall is middling."""
    rng = np.random.default_rng(3)
    corpus = unit(CORPUS, 12, 0)
    target = rng.permutation(CORPUS)[:QUERIES]
    queries = corpus[target] + 1.4 * unit(QUERIES, 12, 1)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    rows = [[t] if single else [t, (t + 1) % CORPUS, (t + 2) % CORPUS] for t in target.tolist()]
    return queries, corpus, Split(np.arange(QUERIES) + 1000, Ragged.of(rows))


def run(
    config: EvalConfig = CONFIG, parts: dict[str, Ids] | None = None, by_index: bool = True, single: bool = True
) -> Measured:
    queries, corpus, split = scene(single)
    return evaluate(queries, corpus, split, parts or {}, config, INDEX, by_index=by_index)


def ranked_by_loop(single: bool = True) -> list[list[int]]:
    queries, corpus, _ = scene(single)
    return [sorted(range(CORPUS), key=lambda p, q=query: -float(q @ corpus[p])) for query in queries]


@pytest.mark.parametrize("single", [True, False])
def test_metrics_and_ranks_are_those_of_a_plain_sort(single: bool) -> None:
    result, rankings = run(single=single), ranked_by_loop(single)
    relevant = scene(single)[2].relevant
    for k in CONFIG.ks:
        recall = [len(set(row[:k]) & set(relevant[q])) / len(relevant[q]) for q, row in enumerate(rankings)]
        assert 0 < np.mean(recall) < 1
        for prefix in ("", "exact/"):
            assert result.metrics[f"{prefix}recall@{k}"] == pytest.approx(100 * np.mean(recall))
    for prefix in ("", "exact/"):
        assert [list(row) for row in result.items[f"{prefix}passages"]] == [row[:20] for row in rankings]
        for q, rank in enumerate(result.items[f"{prefix}rank"].to_numpy(na_value=0)):
            first = min(rankings[q].index(p) for p in relevant[q]) + 1
            assert rank == (first if first <= 20 else 0)


def test_ranks_have_a_row_per_query_and_average_to_the_metrics() -> None:
    result = run(single=False)
    assert result.items["query"].tolist() == list(range(1000, 1000 + QUERIES))
    assert set(result.items["n_relevant"]) == {3}
    for name, value in result.metrics.items():
        assert result.items[name].mean() == pytest.approx(value), name
    assert min(result.cost[f"{name}_s"] for name in ("index", "search", "exact")) > 0


def test_a_query_without_a_hit_has_no_rank() -> None:
    angle = np.arange(4) / 3
    corpus = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    split = Split(np.arange(2), Ragged.of([[0], [3]]))
    result = evaluate(corpus[[0, 0]], corpus, split, {}, EvalConfig(ks=(1,), retrieve=2), INDEX)
    assert result.items["rank"].isna().tolist() == [False, True]
    assert result.items["exact/rank"].isna().tolist() == [False, True]


def test_ranks_survive_parquet(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    ranks = run().items
    ranks.to_parquet(tmp_path / "ranks.parquet")
    back = pd.read_parquet(tmp_path / "ranks.parquet")
    assert back.dtypes.to_dict() == ranks.dtypes.to_dict()
    np.testing.assert_array_equal(np.stack(back["passages"]), np.stack(ranks["passages"]))
    assert back["rank"].equals(ranks["rank"])


def test_a_part_is_measured_over_its_rows_alone() -> None:
    rows = np.array([3, 5, 8, 39])
    result = run(parts={"dev_hard": rows})
    whole = run()
    of_whole = {name for name in result.metrics if not name.startswith("dev_hard/")}
    assert of_whole == set(whole.metrics)
    for name in of_whole:
        assert result.metrics[name] == whole.metrics[name]
        assert result.metrics[f"dev_hard/{name}"] == pytest.approx(whole.items[name].iloc[rows].mean())


def test_exact_alone_equals_the_exact_part_of_the_whole() -> None:
    alone, whole = run(by_index=False, parts={"p": np.array([1])}), run(parts={"p": np.array([1])})
    assert alone.metrics == {name: v for name, v in whole.metrics.items() if "exact/" in name}
    assert {name for name in alone.cost if name.endswith("_s")} == {"exact_s"}
    assert "rank" not in alone.items and "exact/rank" in alone.items


def test_only_paddle_compat_leaves_out_the_last_query() -> None:
    parts = {"tail": np.array([0, QUERIES - 1])}
    default = run(parts=parts)
    compat = run(EvalConfig(ks=CONFIG.ks, retrieve=20, paddle_compat=True), parts)
    assert len(default.items) == QUERIES and len(compat.items) == QUERIES - 1
    for name in ("recall@1", "recall@20", "exact/ndcg@10"):
        assert compat.metrics[name] == pytest.approx(default.items[name].iloc[:-1].mean())
        assert compat.metrics[f"tail/{name}"] == default.items[name].iloc[0]


@pytest.mark.parametrize("engine", registered())
def test_any_engine_can_be_the_index(engine: str) -> None:
    """With room for every passage each engine gives the metrics of exact search; exact search needs no room."""
    if not registered()[engine].installed:
        pytest.skip(f"{registered()[engine].package} is not installed")
    queries, corpus, split = scene()
    index = replace(INDEX, engine=engine) if registered()[engine].has_ef else IndexConfig(engine, ef=1)
    found = evaluate(queries, corpus, split, {}, CONFIG, index)
    plain = {name: value for name, value in found.metrics.items() if not name.startswith("exact/")}
    assert plain == {name: found.metrics[f"exact/{name}"] for name in plain}
    assert {n for n in found.cost if n.endswith("_s")} == {"index_s", "search_s", "exact_s"}


def test_a_graph_that_several_threads_built_is_said_to_vary() -> None:
    queries, corpus, split = scene()
    said = [
        evaluate(queries, corpus, split, {}, CONFIG, index).warnings
        for index in (INDEX, replace(INDEX, build_threads=2), IndexConfig("exact", build_threads=2))
    ]
    assert [any("2 threads built the graph" in told for told in warnings) for warnings in said] == [False, True, False]


def test_vectors_that_cannot_be_written_are_searched_as_they_are() -> None:
    """The vectors of a file may be larger than memory, so no search copies them."""
    queries, corpus, split = scene()
    corpus.flags.writeable = False
    found = evaluate(queries, corpus, split, {}, CONFIG, INDEX)
    assert found.metrics == run().metrics
    assert np.shares_memory(ExactIndex(corpus)._tensor.numpy(), corpus)


def test_grades_reach_ndcg_and_survive_paddle_compat() -> None:
    queries, corpus, split = scene(single=False)
    grades = np.tile(np.array([3, 0, 1], np.float32), QUERIES)
    graded = Split(split.queries, split.relevant, grades)
    default = evaluate(queries, corpus, graded, {}, CONFIG, INDEX)
    assert default.metrics["ndcg@10"] != pytest.approx(run(single=False).metrics["ndcg@10"])
    assert set(default.items["n_relevant"]) == {2}
    compat_config = EvalConfig(ks=CONFIG.ks, retrieve=20, paddle_compat=True)
    compat = evaluate(queries, corpus, graded, {}, compat_config, INDEX)
    assert compat.metrics["ndcg@10"] == pytest.approx(default.items["ndcg@10"].iloc[:-1].mean())


def test_what_cannot_be_evaluated_is_told_with_its_numbers() -> None:
    queries, corpus, split = scene()
    with pytest.raises(UserError, match=r"eval\.retrieve=20, but the corpus has 12 passages"):
        evaluate(queries, corpus[:12], split, {}, CONFIG, INDEX)
    with pytest.raises(UserError, match=r"index\.ef=10 is smaller than the 20 passages"):
        evaluate(queries, corpus, split, {}, CONFIG, IndexConfig(ef=10))
    beyond = Split(split.queries, Ragged.of([[0]] * 7 + [[1, 250]] + [[0]] * (QUERIES - 8)))
    with pytest.raises(UserError, match=r"query 1007 is relevant to passage 250 but .* has 200 passages"):
        evaluate(queries, corpus[:200], beyond, {}, CONFIG, INDEX)
    with pytest.raises(UserError, match="part 'empty' has no query"):
        evaluate(queries, corpus, split, {"empty": np.array([], np.int64)}, CONFIG, INDEX)
    with pytest.raises(ValueError, match="39 query vectors for a split of 40"):
        evaluate(queries[:-1], corpus, split, {}, CONFIG, INDEX)


@pytest.mark.parametrize(
    ("ks", "message"),
    [((), "is empty"), ((0, 1), "at least 1"), ((5, 1), r"write \[1, 5\]"), ((1, 1), r"write \[1\]")],
)
def test_cut_offs_are_checked(ks: tuple[int, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        EvalConfig(ks=ks)


def test_cut_offs_beyond_what_is_retrieved_are_refused() -> None:
    with pytest.raises(UserError, match=r"eval\.ks=\[1, 50\] exceeds eval\.retrieve=20"):
        EvalConfig(ks=(1, 50), retrieve=20)


def as_file(path: Path, result: Measured) -> list[tuple[str, str]]:
    """Write the result with made-up texts; gives the (query, relevant text) pairs."""
    passages = [f"passage {p}" for p in range(CORPUS)]
    queries = [f"query {q}" for q in result.items["query"]]
    write_file(path, queries, passages, np.stack(result.items["passages"]), np.stack(result.items["scores"]))
    relevant = scene()[2].relevant
    return [(query, passages[relevant[row][0]]) for row, query in enumerate(queries)]


def test_the_documented_script_finds_our_recall(tmp_path: Path) -> None:
    path = tmp_path / "recall_result.txt"
    result = run()
    pairs = as_file(path, result)
    expected = {f"recall@{k}": result.metrics[f"recall@{k}"] for k in CONFIG.ks}
    assert evaluate_file(path, pairs, 20, ks=CONFIG.ks) == pytest.approx(expected)

    compat = run(EvalConfig(ks=CONFIG.ks, retrieve=20, paddle_compat=True))
    expected = {f"recall@{k}": compat.metrics[f"recall@{k}"] for k in CONFIG.ks}
    assert evaluate_file(path, pairs, 20, drop_last=True, ks=CONFIG.ks) == pytest.approx(expected)


def test_the_file_has_k_lines_a_query_best_first(tmp_path: Path) -> None:
    path = tmp_path / "recall_result.txt"
    result = run()
    as_file(path, result)
    lines = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    assert [line[0] for line in lines] == [f"query {q}" for q in result.items["query"] for _ in range(20)]
    scores = np.array([float(line[2]) for line in lines]).reshape(QUERIES, 20)
    assert (np.diff(scores, axis=1) <= 0).all()
    np.testing.assert_array_equal(scores.astype(np.float32), np.stack(result.items["scores"]))
    assert list(tmp_path.iterdir()) == [path]


def test_the_documented_definition_goes_by_text(tmp_path: Path) -> None:
    """Twice the gold text counts twice; of two pairs for a query the last one counts."""
    path = tmp_path / "file.txt"
    path.write_text("a\tx\t0.9\na\tx\t0.8\nb\ty\t0.9\nb\tx\t0.1\n", encoding="utf-8")
    pairs = [("a", "x"), ("b", "z"), ("b", "x")]
    assert evaluate_file(path, pairs, 2, ks=(1, 2, 5)) == {"recall@1": 50, "recall@2": 150}
    assert evaluate_file(path, pairs, 2, drop_last=True, ks=(1, 2)) == {"recall@1": 100, "recall@2": 200}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\tx\t1\na\tx\n", r"file\.txt:2: 2 fields"),
        ("a\tx\t1\nc\tx\t1\n", r"file\.txt:2: no pair has the query 'c'"),
        ("a\tx\t1\n", "1 lines are not a multiple of k=2"),
        ("", "no query to count"),
    ],
)
def test_a_malformed_file_is_told_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "file.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        evaluate_file(path, [("a", "x")], 2)


@pytest.mark.parametrize("text", ["a\tb", "a\nb", "a\rb"])
def test_a_text_the_format_cannot_hold_leaves_no_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "recall_result.txt"
    with pytest.raises(UserError, match="tab or a line break"):
        check_texts(["fine", text])
    assert not path.exists()
