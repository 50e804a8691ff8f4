"""Metrics against trec_eval (by pytrec_eval) and against their definitions as plain loops."""

from __future__ import annotations

from math import log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data.dataset import Floats, Ids, Ragged
from bench.errors import UserError
from bench.evaluate.metrics import METRICS, judge, means, names, parse, per_query

DEPTH, PASSAGES = 20, 60
NAMES = names((1, 3, 5, 10, 20), DEPTH)


def random_case(seed: int, queries: int, graded: bool) -> tuple[Ids, Ragged, Floats | None]:
    """Rankings and one to fifteen relevant passages a query; every fifth query retrieves nothing."""
    rng = np.random.default_rng(seed)
    ranked = np.stack([rng.permutation(PASSAGES)[:DEPTH] for _ in range(queries)])
    ranked[::5] = -1
    relevant = Ragged.of([rng.permutation(PASSAGES)[: rng.integers(1, 16)].tolist() for _ in range(queries)])
    grades = rng.integers(0, 4, len(relevant.values)).astype(np.float32) if graded else None
    return ranked, relevant, grades


@pytest.mark.parametrize("graded", [False, True])
def test_equal_to_trec_eval(graded: bool) -> None:
    pytrec_eval = pytest.importorskip("pytrec_eval")
    ranked, relevant, grades = random_case(0, 200, graded)
    grade = np.ones(len(relevant.values)) if grades is None else grades
    qrels = {
        str(q): {str(relevant.values[i]): int(grade[i]) for i in range(relevant.offsets[q], relevant.offsets[q + 1])}
        for q in range(len(relevant))
    }
    # trec_eval orders by score; a run without a passage that could be relevant stands for "nothing retrieved"
    run = {
        str(q): {str(p): float(DEPTH - place) for place, p in enumerate(row) if p >= 0} or {"none": 1.0}
        for q, row in enumerate(ranked)
    }
    first_ten = {q: {p: s for p, s in row.items() if s > DEPTH - 10} for q, row in run.items()}
    asked = {"recall.1,3,5,10,20", "success.1,3,5,10,20", "ndcg_cut.10"}
    theirs = pytrec_eval.RelevanceEvaluator(qrels, asked).evaluate(run)
    theirs_mrr = pytrec_eval.RelevanceEvaluator(qrels, {"recip_rank"}).evaluate(first_ten)

    ours = per_query(judge(ranked, relevant, grades), NAMES)
    called = {"recall": "recall_{}", "hit": "success_{}", "ndcg": "ndcg_cut_{}", "mrr": "recip_rank"}
    for name, values in ours.items():
        kind, k = parse(name)
        if kind not in called:
            continue  # a metric that trec_eval does not have is measured against its definition alone
        source = theirs_mrr if kind == "mrr" else theirs
        expected = [100 * source[str(q)].get(called[kind].format(k), 0.0) for q in range(len(ranked))]
        np.testing.assert_allclose(values, expected, atol=1e-9, err_msg=name)
        assert values[::5].max() == 0


@settings(deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), graded=st.booleans())
def test_equal_to_the_definitions_as_loops(seed: int, graded: bool) -> None:
    ranked, relevant, grades = random_case(seed, 6, graded)
    values = per_query(judge(ranked, relevant, grades), NAMES)
    for q, row in enumerate(ranked.tolist()):
        of_query = slice(relevant.offsets[q], relevant.offsets[q + 1])
        grade = [1.0] * len(relevant[q]) if grades is None else grades[of_query].tolist()
        wanted = {p: g for p, g in zip(relevant[q].tolist(), grade, strict=True) if g > 0}
        for k in (1, 3, 5, 10, 20):
            found = [p for p in row[:k] if p in wanted]
            assert values[f"recall@{k}"][q] == pytest.approx(100 * len(found) / max(1, len(wanted)))
            assert values[f"hit@{k}"][q] == (100 if found else 0)
        ranks = [rank for rank, p in enumerate(row[:10], 1) if p in wanted]
        assert values["mrr@10"][q] == pytest.approx(100 / ranks[0] if ranks else 0)
        dcg = sum(wanted.get(p, 0) / log2(rank + 1) for rank, p in enumerate(row[:10], 1))
        best = sum(g / log2(r + 1) for r, g in enumerate(sorted(wanted.values(), reverse=True)[:10], 1))
        assert values["ndcg@10"][q] == pytest.approx(100 * dcg / best if best else 0)


def test_ndcg_is_ideal_only_when_all_relevant_come_in_the_order_of_their_grades() -> None:
    relevant, grades = Ragged.of([[4, 5, 6]] * 3), np.array([1, 3, 2] * 3, np.float32)
    ranked = np.array([[5, 6, 4, 0], [4, 5, 6, 0], [5, 6, 0, 1]])
    best, wrong_order, one_missing = per_query(judge(ranked, relevant, grades), ["ndcg@4"])["ndcg@4"]
    assert best == pytest.approx(100)
    assert wrong_order < 100 and one_missing < 100


def test_rank_of_the_first_relevant_passage() -> None:
    judged = judge(np.array([[7, 8, 9], [8, 7, 9], [8, 9, 6]]), Ragged.of([[7, 9], [7], [7]]))
    assert judged.first.tolist() == [1, 2, 0]
    assert judged.known.tolist() == [2, 1, 1]


def test_missing_places_match_nothing() -> None:
    """-1 must not be taken for the last passage of the query before."""
    judged = judge(np.array([[0, 1], [-1, -1]]), Ragged.of([[9], [0]]))
    assert not judged.gains.any()


def test_means_are_over_queries() -> None:
    values = per_query(judge(np.array([[1], [2], [3]]), Ragged.of([[1], [2], [9]])), ["recall@1"])
    assert means(values) == {"recall@1": pytest.approx(200 / 3)}


def test_names_of_an_evaluation_can_all_be_parsed_and_say_how_deep_they_look() -> None:
    assert {"recall@1", "recall@50", "hit@1", "hit@50", "mrr@10", "ndcg@10"} <= set(names((1, 50), 50))
    assert {"recall@1", "hit@1", "mrr@4", "ndcg@4"} <= set(names((1,), 4))
    for ks, depth in (((1, 50), 50), ((1,), 4)):
        assert max(parse(name)[1] for name in names(ks, depth)) <= depth
    assert {parse(name)[0] for name in NAMES} == set(METRICS)


@pytest.mark.parametrize("name", ["recall", "recall@", "recall@0", "recall@-1", "recall@x", "nosuch@10", "@5"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="metric="):
        parse(name)


def test_a_metric_cannot_look_further_than_the_ranking() -> None:
    with pytest.raises(UserError, match="recall@3 needs 3 passages a query but 2 were retrieved"):
        per_query(judge(np.array([[1, 2]]), Ragged.of([[1]])), ["recall@3"])
