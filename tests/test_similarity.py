"""Similarity as an evaluation: scipy's correlations by task and over tasks, values of pairs, what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from bench.data.dataset import DataSet, Floats, TextPairs
from bench.data.fingerprint import with_fingerprint
from bench.data.tasks import with_tasks
from bench.errors import UserError
from bench.evaluate import EvalConfig, Measured, Retrieval, Similarity, evaluation_kind
from bench.search import IndexConfig

SIZES = {"grades": 60, "binary": 25}


def scene() -> tuple[DataSet, Floats]:
    """Two tasks over twenty texts, and the texts' vectors."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((20, 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    tasks = {}
    for task, size in SIZES.items():
        left, right = rng.integers(0, 20, (2, size))
        cosine = (vectors[left] * vectors[right]).sum(1) + 0.4 * rng.standard_normal(size)
        label = np.round(2 * cosine + 2) if task == "grades" else cosine > 0.1
        tasks[task] = {"test": TextPairs(left, right, label.astype(np.float32))}
    texts = tuple(f"text {n}" for n in range(20))
    return DataSet("two", texts, (), {}, tasks=tasks), vectors


def measured(data: DataSet, vectors: Floats) -> Measured:
    found = Similarity.of(data, "test", EvalConfig(), IndexConfig())
    return found.measure(vectors[found.texts().queries], np.zeros((0, 6), np.float32))


def test_metrics_are_scipy_s_per_task_and_averaged_over_tasks_and_pairs() -> None:
    data, vectors = scene()
    result = measured(data, vectors)
    for name, correlation in (("spearman", stats.spearmanr), ("pearson", stats.pearsonr)):
        expected = []
        for task, splits in data.tasks.items():
            pairs = splits["test"]
            cosine = [
                float(vectors[a].astype(float) @ vectors[b].astype(float))
                for a, b in zip(pairs.left, pairs.right, strict=True)
            ]
            expected.append(100 * correlation(cosine, pairs.label).statistic)
            assert result.metrics[f"{task}/{name}"] == pytest.approx(expected[-1])
        assert result.metrics[name] == pytest.approx(np.mean(expected))
        weighted = np.average(expected, weights=list(SIZES.values()))
        assert result.metrics[f"weighted/{name}"] == pytest.approx(weighted)


def test_the_values_of_pairs_average_to_the_metrics_and_have_their_variance() -> None:
    """Tasks are fixed: a metric over tasks varies by the sampling of pairs within each, not between them."""
    data, vectors = scene()
    result = measured(data, vectors)
    alone = {t: measured(replace(data, tasks={t: data.tasks[t]}), vectors).items for t in data.tasks}
    for name in ("spearman", "pearson"):
        assert result.items[name].mean() == pytest.approx(result.metrics[name])
        of_tasks = [alone[task][name].var(ddof=0) / size for task, size in SIZES.items()]
        assert result.items[name].var(ddof=0) / 85 == pytest.approx(sum(of_tasks) / 4)


def test_only_the_texts_of_the_split_are_encoded_and_each_once_for_a_task() -> None:
    data, _ = scene()
    rows = Similarity.of(data, "test", EvalConfig(), IndexConfig()).texts()
    used = {n: sorted({*of["test"].left.tolist(), *of["test"].right.tolist()}) for n, of in data.tasks.items()}
    assert {name: ids.tolist() for name, ids in rows.tasks.items()} == used
    assert rows.queries.tolist() == [i for ids in used.values() for i in ids] and not len(rows.passages)


def test_a_subset_has_pairs_of_every_task() -> None:
    data, _ = scene()
    small = Similarity.of(data, "test", EvalConfig(), IndexConfig()).subset(20, 0)
    assert {task: len(pairs) for task, pairs in small.tasks.items()} == {"grades": 10, "binary": 10}


def test_the_hardest_pairs_are_those_whose_ranks_differ_most() -> None:
    data, vectors = scene()
    result = measured(replace(data, tasks={"grades": data.tasks["grades"]}), vectors)
    ranks = [stats.rankdata(result.items[name]) for name in ("score", "cosine")]
    worst = result.hardest[0]
    assert abs(ranks[0] - ranks[1])[worst["row"]] == pytest.approx(abs(ranks[0] - ranks[1]).max())
    assert worst["left"] == data.queries[data.tasks["grades"]["test"].left[worst["row"]]]


@pytest.mark.parametrize(
    ("label", "message"),
    [([1.0, 1.0, 1.0, 1.0], "all pairs of test have the score 1"), ([1.0, 0.0], "has 2 pairs")],
)
def test_a_task_without_a_correlation_is_refused(label: list[float], message: str) -> None:
    some = np.arange(len(label))
    data = DataSet("x", ("a", "b", "c", "d"), (), {}, tasks={"t": {"test": TextPairs(some, some, np.float32(label))}})
    with pytest.raises(UserError, match=message):
        Similarity.of(data, "test", EvalConfig(), IndexConfig())


def test_equal_vectors_have_no_correlation() -> None:
    data, vectors = scene()
    with pytest.raises(UserError, match="cosines of all pairs are equal"):
        measured(data, np.ones_like(vectors) / 6**0.5)


def test_pairs_with_scores_are_measured_by_similarity_and_inference_sets_are_not() -> None:
    data, _ = scene()
    assert evaluation_kind(data) is Similarity and set(Similarity.splits(data)) == {"test"}
    classes = {n: {s: replace(p, classes=("no", "yes")) for s, p in of.items()} for n, of in data.tasks.items()}
    assert evaluation_kind(replace(data, tasks=classes)) is Retrieval


def test_the_tasks_of_other_data_replace_its_own_and_share_its_texts() -> None:
    other, _ = scene()
    own = TextPairs(np.array([0]), np.array([1]), np.float32([1]), ("no", "yes"))
    data = with_fingerprint(DataSet("own", ("mine", "text 3"), ("a passage",), {}, tasks={"nli": {"train": own}}))
    both = with_tasks(data, [other])
    assert list(both.tasks) == ["nli", "grades", "binary"] and len(set(both.queries)) == len(both.queries) == 21
    assert set(Similarity.splits(both)) == {"test"}
    for task, splits in other.tasks.items():
        for side in ("left", "right"):
            asked = [other.queries[i] for i in getattr(splits["test"], side)]
            assert [both.queries[i] for i in getattr(both.tasks[task]["test"], side)] == asked
    assert both.fingerprint != data.fingerprint
    with pytest.raises(UserError, match="two data sets have a task called grades"):
        with_tasks(data, [other, other])
    with pytest.raises(UserError, match="own has no pairs with scores"):
        with_tasks(other, [data])


def test_own_scored_pairs_stay_to_train_and_are_not_measured() -> None:
    other, _ = scene()
    own = TextPairs(np.array([0, 1]), np.array([1, 2]), np.float32([1, 0]))
    mine = {"sts": {"train": own, "test": own}, "grades": {"train": own}}
    data = with_tasks(DataSet("own", ("a", "b", "c"), (), {}, tasks=mine), [other])
    assert {name: list(splits) for name, splits in data.tasks.items()} == {
        "sts": ["train"],
        "grades": ["train", "test"],
        "binary": ["test"],
    }
    assert set(Similarity.splits(data)) == {"test"} and set(data.scored("test")) == {"grades", "binary"}


def test_a_limit_of_training_pairs_keeps_the_texts_of_the_rest() -> None:
    from bench.data.subset import subset

    other, _ = scene()
    pairs = other.tasks["grades"]["test"]
    data = replace(other, tasks={"grades": {"train": pairs, "test": pairs.first(5)}})
    small = subset(data, max_train=3)
    assert {split: len(p) for split, p in small.tasks["grades"].items()} == {"train": 3, "test": 5}
    for split, kept in small.tasks["grades"].items():
        whole = data.tasks["grades"][split]
        for side in ("left", "right"):
            asked = [data.queries[i] for i in getattr(whole, side)[: len(kept)]]
            assert [small.queries[i] for i in getattr(kept, side)] == asked
    assert len(small.queries) == len(pairs.first(5).texts)
