"""Batches of one cluster: k-means against plain loops, and which pairs a step has."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys import DATA, PAIRS, Training, plainly

from bench.data.dataset import DataSet
from bench.data.load import DataConfig, load
from bench.data.pairs import Pairs
from bench.data.sampler import batch_rows, steps_per_epoch
from bench.data.subset import subset
from bench.errors import UserError
from bench.model.embedding import encode
from bench.negatives import NegativesContext, check, clusters_of
from bench.negatives.batches import spherical_k_means
from bench.train.step import Stepper
from strategies import find, registered
from strategies.batches import Clustered, Grouped, Shuffled

# Which pairs a step has


@plainly
@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(1, 12), st.integers(0, 2**31))
def test_each_epoch_has_each_pair_once_in_batches_of_one_cluster(labels: list[int], size: int, seed: int) -> None:
    """Where one cluster ends and the next begins a batch may hold both; nothing else mixes them."""
    cluster = np.array(labels)
    steps = steps_per_epoch(len(labels), size)
    for epoch in range(2):
        batches = [batch_rows(len(labels), size, seed, epoch * steps + step, cluster) for step in range(steps)]
        assert sorted(np.concatenate(batches)) == list(range(len(labels)))
        assert all(len(batch) == size for batch in batches[:-1])
        changes = sum(a != b for batch in batches for a, b in pairwise(cluster[batch].tolist()))
        assert changes <= len(set(labels)) - 1


def test_pairs_clusters_and_batches_come_in_another_order_each_epoch() -> None:
    cluster = np.repeat(np.arange(5), 20)
    epochs = [[batch_rows(100, 10, 0, epoch * 10 + step, cluster) for step in range(10)] for epoch in range(40)]
    assert len({tuple(batches[0].tolist()) for batches in epochs}) == 40
    first = [int(cluster[batches[0][0]]) for batches in epochs]
    assert set(first) == set(range(5)), "any cluster may come first"
    apart = sum(cluster[a[0]] != cluster[b[0]] for batches in epochs for a, b in pairwise(batches))
    assert apart > 0.7 * 40 * 9, "the two batches of a cluster are seldom neighbours: with a chance of 1 in 9"


# Clusters


def lloyd(vectors: list[list[float]], centres: list[list[float]]) -> list[int]:
    """Spherical k-means as plain loops."""
    found: list[int] = []
    while True:
        cosines = [[sum(a * b for a, b in zip(v, c, strict=True)) for c in centres] for v in vectors]
        nearest = [row.index(max(row)) for row in cosines]
        if nearest == found:
            return found
        found = nearest
        for number in range(len(centres)):
            mine = [v for v, label in zip(vectors, found, strict=True) if label == number]
            total = [sum(column) for column in zip(*mine, strict=True)]
            if total:
                length = math.sqrt(sum(x * x for x in total))
                centres[number] = [x / length for x in total]


@pytest.mark.parametrize("seed", range(4))
def test_k_means_is_its_plain_loop(seed: int) -> None:
    vectors = np.random.default_rng(seed).standard_normal((60, 3))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    first = np.random.default_rng(seed + 10).permutation(60)[:5]
    found = spherical_k_means(vectors, 5, np.random.default_rng(seed + 10))
    assert found.tolist() == lloyd(vectors.tolist(), vectors[first].tolist())


def test_as_many_clusters_as_vectors_and_one_cluster() -> None:
    vectors = np.eye(4, dtype=np.float32)
    assert sorted(spherical_k_means(vectors, 9, np.random.default_rng(0))) == [0, 1, 2, 3]
    assert spherical_k_means(vectors, 1, np.random.default_rng(0)).tolist() == [0] * 4


@pytest.mark.parametrize("of", ["queries", "passages"])
def test_pairs_of_a_cluster_have_similar_texts(of: str, context: NegativesContext, training: Training) -> None:
    cluster, cost = clusters_of(Clustered(5, "start", of), context)
    again, _ = clusters_of(Clustered(5, "start", of), context)
    assert cluster is not None and cluster.tolist() == again.tolist() and len(cluster) == len(PAIRS)
    side, ids = (training.queries, PAIRS.query) if of == "queries" else (training.passages, PAIRS.positive)
    assert cost.texts == len(set(ids.tolist()))
    vectors = encode(training.encoder, side, "fp32", ids)
    cosines, same = vectors @ vectors.T, cluster[:, None] == cluster[None]
    assert cosines[same].mean() > cosines[~same].mean()
    assert clusters_of(Shuffled(), context)[0] is None


@pytest.mark.parametrize("name", ["clustered", "guided"])
def test_training_takes_its_batches_from_the_clusters(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[np.ndarray] = []
    plain = Stepper.backward

    def backward(self: Stepper, rows: np.ndarray, *more: Any, **kept: Any) -> Any:
        seen.append(rows)
        return plain(self, rows, *more, **kept)

    monkeypatch.setattr(Stepper, "backward", backward)
    training = Training(registered()[name](clusters=4), directory=tmp_path)
    cluster = training.objective(training.strategy, tmp_path).cluster
    assert cluster is not None
    training.fit()
    assert sorted(np.concatenate(seen)) == list(range(len(PAIRS)))
    assert sum(len(set(cluster[rows].tolist())) > 1 for rows in seen) <= 3


def test_an_addition_keeps_the_batches() -> None:
    assert find("clustered:spread_out")().batches == Clustered(10)


def test_more_clusters_than_pairs_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"strategy clustered: 120 training pairs of toy cannot be put into 121 clusters"
    ):
        check(registered()["clustered"](clusters=121), DATA)


# Groups of the data


def grouped(place: Path) -> DataSet:
    place.mkdir(exist_ok=True)
    lines = [("which a", "about a", "News"), ("which b", "about b", "wiki"), ("which a", "also a", "wiki")]
    lines += [("which c", "about c", "wiki"), ("which d", "about d", "News")]
    rows = [{"query": q, "positive": p, "source": g, "more": 1} for q, p, g in lines]
    (place / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (place / "dev.jsonl").write_text(json.dumps({"query": "find b", "positive": "about b"}) + "\n")
    return load(DataConfig(str(place), columns="group:source"))


def test_a_column_of_train_has_the_groups(tmp_path: Path, context: NegativesContext) -> None:
    data = grouped(tmp_path / "set")
    assert data.splits["train"].groups.tolist() == [0, 1, 1, 0] and data.splits["dev"].groups is None
    assert data.notices["rows of train with another group than the first row of their query"] == 1
    assert "columns not read of train.jsonl: more" in data.notices
    cluster, cost = clusters_of(Grouped(), replace(context, data=data, pairs=Pairs.of(data)))
    assert cluster.tolist() == [0, 0, 1, 1, 0] and cost.texts == 0
    plain = load(DataConfig(str(tmp_path / "set")))
    assert plain.splits["train"].groups is None and plain.fingerprint != data.fingerprint
    assert subset(data, max_train=3).splits["train"].groups.tolist() == [0, 1]
    assert registered()["clustered"](by="data").batches == Grouped()
    check(registered()["clustered"](by="data"), data)


def test_the_column_of_groups_is_nothing_else(tmp_path: Path) -> None:
    """Neither a negative of a table without names nor a label, and a row without a group is refused."""
    (tmp_path / "train.tsv").write_text("".join(f"which {n}\tabout {n}\ttopic{n % 2}\n" for n in range(8)))
    (tmp_path / "dev.tsv").write_text("find 3\tabout 3\n")
    data = load(DataConfig(str(tmp_path), columns="group:3"))
    assert sorted(data.passages) == [f"about {n}" for n in range(8)]
    assert data.splits["train"].groups.tolist() == [0, 1] * 4
    named = tmp_path / "named"
    named.mkdir()
    rows = [{"query": f"which {n}", "positive": f"about {n}", "label": n % 2 if n else None} for n in range(8)]
    (named / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (named / "dev.jsonl").write_text(json.dumps({"query": "find 3", "positive": "about 3"}) + "\n")
    with pytest.raises(UserError, match="the group in the column 'label' is empty"):
        load(DataConfig(str(named), columns="group:label"))
    data = load(DataConfig(str(named), columns="group:label", skip_broken=True))
    assert len(data.splits["train"]) == 7 and data.splits["train"].groups.tolist() == [0, 1, 0, 1, 0, 1, 0]


def test_groups_that_are_not_there_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="strategy clustered: data set toy has no groups; name the column"):
        check(registered()["clustered"](by="data"), DATA)
    grouped(tmp_path / "set")
    with pytest.raises(UserError, match="there is no column 'topic'"):
        load(DataConfig(str(tmp_path / "set"), columns="group:topic"))
    with pytest.raises(UserError, match="two columns for group"):
        load(DataConfig(str(tmp_path / "set"), columns="group:source,group:more"))
