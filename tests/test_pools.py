"""Mined negatives: what is found, by vectors and by words, what it takes, and that no kill changes it."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_runs import record_of, words
from toys import DATA, PAIRS, ROWS, TRAIN, Training

from bench.cache import Cache
from bench.data.dataset import DataSet, Ragged, Split
from bench.errors import UserError
from bench.model.embedding import Cost
from bench.negatives import MiningConfig, NegativesContext, negative_sampler, pool_sampler
from bench.negatives.pool import build_pool
from bench.negatives.searchers import BM25Searcher, DenseSearcher, terms
from strategies import registered
from strategies.negatives import Mined


def labelled(pair: int) -> set[int]:
    return set(TRAIN.relevant[PAIRS.row[pair]].tolist())


def dense(queries: int = 40, passages: int = 90, ties: bool = False) -> tuple[DenseSearcher, np.ndarray, Split]:
    rng = np.random.default_rng(0)
    vectors = [rng.standard_normal((count, 6)).astype(np.float32) for count in (queries, passages)]
    if ties:
        vectors = [np.sign(v) for v in vectors]
    relevant = Ragged.of([sorted(rng.choice(passages, rng.integers(1, 4), replace=False)) for _ in range(queries)])
    miner = DenseSearcher(vectors[0], vectors[1], "cpu", Cost(), 1)
    return miner, vectors[0] @ vectors[1].T, Split(np.arange(queries), relevant)


@pytest.mark.parametrize("ties", [False, True])
def test_mining_finds_what_a_full_sort_finds(ties: bool, tmp_path: Path) -> None:
    miner, scores, split = dense(ties=ties)
    pool = build_pool("pool-x", lambda: miner, split, 20, 1, Cache(tmp_path))
    for q in range(len(split)):
        mine_ = set(split.relevant[q].tolist())
        wanted = sorted((p for p in range(90) if p not in mine_), key=lambda p, q=q: (-scores[q, p], p))[:20]
        np.testing.assert_allclose(pool.entries["score"][q], scores[q, wanted], rtol=1e-5)
        if ties:  # small whole numbers: equal scores are exactly equal, the first passages stand first
            assert pool.entries["passage"][q].tolist() == wanted
        assert not mine_ & set(pool.entries["passage"][q].tolist())
    row = np.repeat(np.arange(len(split)), split.relevant.lengths)
    np.testing.assert_allclose(pool.positives, scores[row, split.relevant.values], rtol=1e-5)


def test_memory_decides_the_blocks_and_not_the_result(tmp_path: Path) -> None:
    miner, _, split = dense(queries=3000, passages=900)
    small, large = (build_pool(f"pool-{mb}", lambda: miner, split, 5, mb, Cache(tmp_path)) for mb in (1, 500))
    np.testing.assert_array_equal(small.entries["passage"], large.entries["passage"])


def test_memory_for_mining_is_at_least_a_mebibyte() -> None:
    with pytest.raises(UserError, match=r"mining\.memory_mb=0 must be at least 1"):
        MiningConfig(0)


def test_a_pool_that_is_not_whole_is_searched_again(tmp_path: Path) -> None:
    miner, _, split = dense()
    whole = build_pool("pool-x", lambda: miner, split, 5, 1, Cache(tmp_path))
    wanted = np.array(whole.entries)
    (tmp_path / "pool-x" / "entries.npy").write_bytes(bytes((tmp_path / "pool-x" / "entries.npy").stat().st_size))
    again = build_pool("pool-x", lambda: miner, split, 5, 1, Cache(tmp_path))
    np.testing.assert_array_equal(again.entries, wanted)


PEAK = """
import sys, numpy as np, torch, resource, pathlib
from bench.data.dataset import Ragged, Split
from bench.negatives.searchers import DenseSearcher
from bench.negatives.pool import build_pool
from bench.model.embedding import Cost
from bench.cache import Cache
queries = int(sys.argv[1])
vectors = np.random.default_rng(0).standard_normal((4000, 32), dtype=np.float32)
split = Split(np.arange(queries), Ragged(np.arange(queries + 1), np.arange(queries) % 4000))
miner = DenseSearcher(np.broadcast_to(vectors[:1], (queries, 32)), vectors, "cpu", Cost(), 16)
build_pool("pool-x", lambda: miner, split, 200, 16, Cache(pathlib.Path(sys.argv[2])))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def test_peak_memory_is_flat_in_the_number_of_queries(tmp_path: Path) -> None:
    """Twenty times the queries, 60 MB of pool, in the same memory but for 12 bytes or so a query."""
    peaks = []
    for queries in (2000, 40000):
        done = subprocess.run(
            [sys.executable, "-c", PEAK, str(queries), str(tmp_path / str(queries))],
            check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1],
        )  # fmt: skip
        peaks.append(float(done.stdout))
    assert peaks[1] - peaks[0] < 15, f"peak memory went from {peaks[0]:.0f} to {peaks[1]:.0f} MB"


@pytest.mark.parametrize("choice", ["top", "random"])
@pytest.mark.parametrize("margins", [(None, None), (0.05, None), (None, 0.1), (0.0, 0.0)])
def test_mined_negatives_are_of_the_ranks_and_under_the_positive(
    choice: str, margins: tuple[float | None, float | None], context: NegativesContext, training: Training
) -> None:
    absolute, relative = margins
    wanted = Mined(4, "start", 3, 30, absolute, relative, choice)
    drawn = negative_sampler(wanted, context).draw(ROWS, 2)
    from bench.model.embedding import encode

    queries = encode(training.encoder, training.queries, "fp32")
    passages = encode(training.encoder, training.passages, "fp32")
    for pair in ROWS:
        scores = passages @ queries[PAIRS.query[pair]]
        ranked = sorted((p for p in range(80) if p not in labelled(pair)), key=lambda p, s=scores: (-s[p], p))[3:30]
        positive = scores[PAIRS.positive[pair]]
        limit = min(
            positive - absolute if absolute is not None else np.inf,
            positive - relative * abs(positive) if relative is not None else np.inf,
        )
        sure = [p for p in ranked if scores[p] <= limit - 1e-5]
        possible = [p for p in ranked if scores[p] <= limit + 1e-5]
        got = drawn.ids[pair][~drawn.free[pair]].tolist()
        assert set(got) <= set(possible) and min(4, len(sure)) <= len(got) <= min(4, len(possible))
        if choice == "top" and len(sure) == len(possible):
            assert sorted(scores[got]) == pytest.approx(sorted(scores[sure[:4]]), abs=1e-5)
        above = drawn.above[pair] & ~drawn.free[pair]
        near = sum(abs(scores[p] - positive) < 1e-5 for p in got)
        assert abs(above.sum() - sum(scores[p] > positive for p in got)) <= near


def test_a_pool_is_mined_once_for_all_runs_and_tells_its_cost_to_each(
    context: NegativesContext, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = negative_sampler(Mined(2, first=0, last=20), context)
    monkeypatch.setattr(pool_sampler, "_searcher", None)  # whoever mines again fails
    again = negative_sampler(Mined(7, first=10, last=40, choice="top"), replace(context, scratch=tmp_path / "other"))
    assert first.cost == again.cost and first.cost.seconds > 0
    assert first.cost.texts == len(TRAIN) + len(DATA.passages)
    with pytest.raises(TypeError):
        negative_sampler(Mined(2, last=20), replace(context, data=replace(DATA, fingerprint="other")))


def test_two_runs_started_together_on_an_empty_cache_share_one_right_pool(data: Path, tmp_path: Path) -> None:
    def environment(place: str) -> dict[str, str]:
        return {**os.environ, "OMP_NUM_THREADS": "1", "NEGBENCH_CACHE": str(tmp_path / place)}

    def start(place: str, n: int) -> subprocess.Popen[str]:
        mining = {"strategy": "mined_hard", "strategy__last": "40", "strategy__n": str(n)}
        line = words(data, tmp_path / place / "runs", **mining, eval__untrained="false")
        return subprocess.Popen(
            [sys.executable, "-m", "bench.cli", *line], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
            env=environment(place), cwd=Path(__file__).parents[1],
        )  # fmt: skip

    def pool(place: str) -> np.ndarray:
        (entries,) = (tmp_path / place).glob("pool-*/entries.npy")
        return np.load(entries)

    both = [start("together", n) for n in (1, 2)]
    errors = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    alone = start("alone", 1)
    alone.communicate(timeout=120)
    np.testing.assert_array_equal(pool("together"), pool("alone"))
    found = [
        {
            record.knobs["n"]: record.metrics
            for record in map(record_of, (tmp_path / place / "runs").glob("mined_hard-*"))
        }
        for place in ("together", "alone")
    ]
    assert set(found[0]) == {1, 2} and found[0][1] == found[1][1]


# Again while training


def test_ance_searches_again_with_the_weights_of_the_moment(tmp_path: Path) -> None:
    training = Training(registered()["ance"](refresh=4, last=10), directory=tmp_path, max_steps=9, lr=1e-2)
    training.fit()
    pools = sorted(int(path.name.removeprefix("pool-")) for path in tmp_path.glob("pool-*"))
    assert pools == [8], "earlier ones are removed"
    assert training.events[-1]["drawn_free"] == 0 and training.events[-1]["drawn_labelled"] == 0


@pytest.mark.parametrize("death", [2, 4, 5, 7, 8])
def test_ance_killed_anywhere_ends_as_if_it_had_not_been(death: int, tmp_path: Path) -> None:
    def trained(place: str) -> Training:
        strategy = registered()["ance"](refresh=3, last=20, n=2)
        return Training(strategy, directory=tmp_path / place, max_steps=9, save_every=100)

    whole, killed, resumed = trained("whole"), trained("killed"), trained("killed")
    whole.fit()

    class Killed(Exception):
        pass

    def kill(step: int) -> None:
        if step == death:
            raise Killed

    with pytest.raises(Killed):
        killed.fit(on_step=kill)
    done = resumed.fit()
    for key, value in whole.encoder.state_dict().items():
        assert torch.equal(value, resumed.encoder.state_dict()[key])
    assert done.mine_texts == 3 * (len(TRAIN) + len(DATA.passages)), "every search is counted once"


# BM25


def test_terms_are_words_or_pairs_of_characters() -> None:
    assert list(terms("The GPU's 2nd pass_x")) == ["the", "gpu", "s", "2nd", "pass_x"]
    assert list(terms("语义检索 BERT 好")) == ["语义", "义检", "检索", "bert", "好"]


def test_bm25_scores_are_the_formula() -> None:
    texts = ["red fish blue fish", "one fish", "two birds", "red red wine", "nothing here to see"]
    data = DataSet("t", ["red fish", "unknown words"], texts, {})
    split = Split(np.arange(2), Ragged.of([[0], [1]]))
    miner = BM25Searcher(data, split)
    got = np.stack([miner.scores(query) for query in data.queries])
    docs = [Counter(text.split()) for text in texts]
    average = sum(sum(doc.values()) for doc in docs) / 5
    for p, doc in enumerate(docs):
        score = 0.0
        for word in ("red", "fish"):
            df = sum(word in other for other in docs)
            idf = math.log(1 + (5 - df + 0.5) / (df + 0.5))
            norm = 1.2 * (1 - 0.75 + 0.75 * sum(doc.values()) / average)
            score += idf * doc[word] / (doc[word] + norm)
        assert got[0, p].item() == pytest.approx(score, rel=1e-5)
    assert not got[1].any()
