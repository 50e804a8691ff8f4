"""Carrying out declarations of negatives: sampling, mining, guides, and what a data set cannot give."""

from __future__ import annotations

import math
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toys import Training, toy_data

from bench.data.dataset import DataSet, Ragged, Split
from bench.data.pairs import Pairs
from bench.data.tokens import Tokens
from bench.errors import UserError
from bench.negatives import Setting, check, mined, source, view
from bench.negatives.miners import BM25, Dense, terms
from bench.negatives.mining import mine, read
from bench.negatives.sampling import distinct, pick
from bench.negatives.setting import Cost, MiningConfig
from bench.train.material import Material, repeated
from bench.train.memory import Memory
from strategies import registered
from strategies.examples import TwoViews
from strategies.negatives import Guide, InBatch, Mined, Negatives, Provided, RandomGlobal

DATA = toy_data()
TRAIN = DATA.splits["train"]
PAIRS = Pairs(TRAIN)
ROWS = np.arange(len(PAIRS))


@pytest.fixture
def training(tmp_path: Path) -> Training:
    return Training(registered()["mnr"](), directory=tmp_path)


@pytest.fixture
def setting(training: Training, tmp_path: Path) -> Setting:
    return Setting(DATA, PAIRS, 0, training.reader, tmp_path / "scratch", tmp_path / "cache")


def labelled(pair: int) -> set[int]:
    return set(TRAIN.relevant[PAIRS.row[pair]].tolist())


# Sampling


@given(st.integers(1, 30), st.integers(1, 8), st.integers(8, 400), st.integers(0, 99))
def test_distinct_numbers_are_distinct_and_below_the_size(rows: int, n: int, size: int, seed: int) -> None:
    drawn = distinct(np.random.default_rng(seed), rows, n, size)
    assert drawn.shape == (rows, n) and drawn.min() >= 0 and drawn.max() < size
    assert all(len(set(row)) == n for row in drawn.tolist())


@given(st.lists(st.lists(st.integers(0, 50), unique=True, max_size=6), min_size=1, max_size=9), st.integers(1, 5))
def test_picking_takes_each_value_once_and_tells_what_is_free(lists: list[list[int]], n: int) -> None:
    picked, free = pick(np.random.default_rng(0), Ragged.of(lists), n)
    for values, row, missing in zip(lists, picked.tolist(), free.tolist(), strict=True):
        got = [value for value, none in zip(row, missing, strict=True) if not none]
        assert len(got) == min(n, len(values)) == len(set(got)) and set(got) <= set(values)


@pytest.mark.parametrize("declaration", [RandomGlobal(3), RandomGlobal(3, pool=6), Provided(2)])
def test_draws_follow_from_seed_and_step_alone(declaration: Negatives, setting: Setting) -> None:
    one, two = source(declaration, setting), source(declaration, setting)
    two.draw(ROWS, 4)  # whatever was drawn before
    for step in (0, 7):
        first, second = one.draw(ROWS, step), two.draw(ROWS, step)
        assert first is not None and second is not None
        np.testing.assert_array_equal(first.ids, second.ids)
        assert np.isin(first.ids, np.union1d(one.reach(), PAIRS.positive)).all()
    assert not np.array_equal(one.draw(ROWS, 0).ids, one.draw(ROWS, 1).ids)
    other = source(declaration, replace(setting, seed=1)).draw(ROWS, 0)
    assert not np.array_equal(one.draw(ROWS, 0).ids, other.ids)


def test_random_passages_come_from_the_whole_corpus_evenly(setting: Setting) -> None:
    drawn = source(RandomGlobal(5), setting)
    counts = np.bincount(np.concatenate([drawn.draw(ROWS, s).ids.ravel() for s in range(100)]), minlength=80)
    expected = 100 * 5 * len(ROWS) / 80
    assert len(counts) == 80 and np.abs(counts - expected).max() < 6 * math.sqrt(expected)


def test_a_pool_is_chosen_once_for_a_query(setting: Setting) -> None:
    drawn = source(RandomGlobal(2, pool=4), setting)
    met: dict[int, set[int]] = {}
    for step in range(60):
        for pair, row in enumerate(drawn.draw(ROWS, step).ids.tolist()):
            met.setdefault(int(PAIRS.query[pair]), set()).update(row)
    assert {len(passages) for passages in met.values()} == {4}


def test_provided_negatives_are_the_query_s_own_and_a_free_place_holds_its_positive(setting: Setting) -> None:
    drawn = source(Provided(3), setting).draw(ROWS, 0)
    assert drawn.free.any() and not drawn.free.all()
    for pair in ROWS:
        given_ = set(TRAIN.negatives[PAIRS.row[pair]].tolist())
        assert set(drawn.ids[pair][~drawn.free[pair]].tolist()) <= given_
        assert set(drawn.ids[pair][drawn.free[pair]].tolist()) <= {int(PAIRS.positive[pair])}


# Mining


def dense(queries: int = 40, passages: int = 90, ties: bool = False) -> tuple[Dense, np.ndarray, Split]:
    rng = np.random.default_rng(0)
    vectors = [rng.standard_normal((count, 6)).astype(np.float32) for count in (queries, passages)]
    if ties:
        vectors = [np.sign(v) for v in vectors]
    relevant = Ragged.of([sorted(rng.choice(passages, rng.integers(1, 4), replace=False)) for _ in range(queries)])
    miner = Dense(vectors[0], vectors[1], "cpu", Cost(), 1)
    return miner, vectors[0] @ vectors[1].T, Split(np.arange(queries), relevant)


@pytest.mark.parametrize("ties", [False, True])
def test_mining_finds_what_a_full_sort_finds(ties: bool, tmp_path: Path) -> None:
    miner, scores, split = dense(ties=ties)
    pool = mine(miner, split, 20, 1, tmp_path / "pool-x.bin")
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
    small, large = (mine(miner, split, 5, mb, tmp_path / f"pool-{mb}.bin") for mb in (1, 500))
    np.testing.assert_array_equal(small.entries["passage"], large.entries["passage"])


def test_a_pool_that_is_not_whole_is_not_read(tmp_path: Path) -> None:
    miner, _, split = dense()
    path = tmp_path / "pool-x.bin"
    mine(miner, split, 5, 1, path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="another size"):
        read(path, len(split), 5)
    path.with_suffix(".json").unlink()
    with pytest.raises(FileNotFoundError):
        read(path, len(split), 5)


PEAK = """
import sys, numpy as np, torch, resource, pathlib
from bench.data.dataset import Ragged, Split
from bench.negatives.miners import Dense
from bench.negatives.mining import mine
from bench.negatives.setting import Cost
queries = int(sys.argv[1])
vectors = np.random.default_rng(0).standard_normal((4000, 32), dtype=np.float32)
split = Split(np.arange(queries), Ragged(np.arange(queries + 1), np.arange(queries) % 4000))
miner = Dense(np.broadcast_to(vectors[:1], (queries, 32)), vectors, "cpu", Cost(), 16)
mine(miner, split, 200, 16, pathlib.Path(sys.argv[2]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def test_peak_memory_is_flat_in_the_number_of_queries(tmp_path: Path) -> None:
    """Twenty times the queries, 60 MB of pool, in the same memory but for 12 bytes or so a query."""
    peaks = []
    for queries in (2000, 40000):
        done = subprocess.run(
            [sys.executable, "-c", PEAK, str(queries), str(tmp_path / f"pool-{queries}.bin")],
            check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1],
        )  # fmt: skip
        peaks.append(float(done.stdout))
    assert peaks[1] - peaks[0] < 15, f"peak memory went from {peaks[0]:.0f} to {peaks[1]:.0f} MB"


@pytest.mark.parametrize("choice", ["top", "random"])
@pytest.mark.parametrize("margins", [(None, None), (0.05, None), (None, 0.1), (0.0, 0.0)])
def test_mined_negatives_are_of_the_ranks_and_under_the_positive(
    choice: str, margins: tuple[float | None, float | None], setting: Setting, training: Training
) -> None:
    absolute, relative = margins
    wanted = Mined(4, "start", 3, 30, absolute, relative, choice)
    drawn = source(wanted, setting).draw(ROWS, 2)
    from bench.model.encode import encode

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
    setting: Setting, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = source(Mined(2, first=0, last=20), setting)
    monkeypatch.setattr(mined, "mine", None)  # whoever mines again fails
    again = source(Mined(7, first=10, last=40, choice="top"), replace(setting, scratch=tmp_path / "other"))
    assert first.cost == again.cost and first.cost.seconds > 0
    assert first.cost.texts == len(TRAIN) + len(DATA.passages)
    with pytest.raises(TypeError):
        source(Mined(2, last=20), replace(setting, data=replace(DATA, fingerprint="other")))


def test_ance_searches_again_with_the_weights_of_the_moment(tmp_path: Path) -> None:
    training = Training(registered()["ance"](refresh=4, last=10), directory=tmp_path, max_steps=9, lr=1e-2)
    training.fit()
    pools = sorted(int(path.stem.removeprefix("pool-")) for path in tmp_path.glob("pool-*.bin"))
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
    miner = BM25(data, split)
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


# Guides


def test_a_guide_sees_the_batch_as_it_embeds_it(setting: Setting) -> None:
    reach = np.arange(5, 60)
    seen = view(Guide("another"), setting, reach)
    again = view(Guide("another"), setting, reach)
    queries, passages = TRAIN.queries[[3, 1]], np.array([7, 20, 59])
    left, right = seen.vectors(queries, passages)
    torch.testing.assert_close(seen.scores(queries, passages), left @ right.T)
    torch.testing.assert_close(left.norm(dim=1), torch.ones(2))
    np.testing.assert_array_equal(left, again.vectors(queries, passages)[0])
    assert seen.cost == again.cost and seen.cost.texts == len(TRAIN) + len(reach)


def test_scores_of_the_data_are_known_for_the_own_group_alone(setting: Setting) -> None:
    seen = view(Guide("data"), setting, np.arange(80))
    queries, passages = TRAIN.queries[[0, 9, 4]], np.arange(0, 80, 2)
    scores = seen.scores(queries, passages)
    assert seen.vectors(queries, passages) is None
    for place, row in enumerate((0, 9, 4)):
        known = dict(zip(TRAIN.relevant[row].tolist(), [2.0] * 9, strict=False))
        begin = TRAIN.negatives.offsets[row]
        known |= {int(p): float(TRAIN.negative_scores[begin + k]) for k, p in enumerate(TRAIN.negatives[row])}
        for column, passage in enumerate(passages.tolist()):
            value = scores[place, column].item()
            assert math.isnan(value) if passage not in known else value == pytest.approx(known[passage])


# What a data set cannot give

BARE = replace(
    DATA, unlabelled=(), splits={**DATA.splits, "train": Split(TRAIN.queries, TRAIN.relevant)}
)  # no negatives, scores or unlabelled texts


@pytest.mark.parametrize(
    ("name", "knobs", "message"),
    [
        ("provided_hard", {}, "gives no negatives"),
        ("triplet", {"negative": "provided"}, "gives no negatives"),
        ("distil", {"teacher": "data"}, "gives no"),
        ("simcse", {}, "no unlabelled texts; texts=corpus"),
        ("simcse_ibn", {}, "strategy simcse: .*no unlabelled texts"),
        ("mined_hard", {}, "ranks up to 210 .* 80 passages, up to 2 .* 78 ranks"),
        ("ance", {}, "ranks up to 200"),
        ("random_global", {"group": 81}, "80 negatives cannot be had from the 80 passages"),
        ("random_global", {"pool": 90}, "a pool of 90 passages cannot be had"),
        ("random_global", {"pool": 5}, "7 negatives cannot be drawn from a pool of 5"),
    ],
)
def test_what_cannot_be_had_is_told(name: str, knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check(registered()[name](**knobs), BARE)


def test_what_can_be_had_is_not_refused() -> None:
    for name in ("in_batch", "provided_hard", "simcse", "simcse_ibn", "random_global"):
        check(registered()[name](), DATA)
    check(registered()["distil"](teacher="data"), DATA)


def test_memory_for_mining_is_at_least_a_mebibyte() -> None:
    with pytest.raises(UserError, match=r"mining\.memory_mb=0 must be at least 1"):
        MiningConfig(0)


# Memory of earlier batches


def test_the_newest_passages_are_remembered_once_each() -> None:
    memory = Memory(size=4, warmup=2)
    unit = lambda *values: torch.tensor([[float(value)] for value in values])  # noqa: E731
    memory.keep(torch.tensor([1, 2]), unit(1, 2))
    assert memory.recall() is None, "the warm-up is not over"
    memory.keep(torch.tensor([3, 1]), unit(3, 10).requires_grad_())
    ids, vectors = memory.recall()
    assert ids.tolist() == [3, 1, 2] and vectors.ravel().tolist() == [3, 10, 2] and not vectors.requires_grad
    memory.keep(torch.tensor([5, 6]), unit(5, 6))
    assert memory.recall()[0].tolist() == [5, 6, 3, 1]
    other = Memory(size=4, warmup=2)
    other.restore(memory.state(), torch.device("cpu"))
    assert other.recall()[0].tolist() == [5, 6, 3, 1] and other.steps == 3


def test_without_a_size_nothing_is_remembered() -> None:
    memory = Memory(0, 0)
    memory.keep(torch.tensor([1]), torch.ones(1, 2))
    assert memory.recall() is None


def test_remembered_passages_are_candidates_until_they_are_in_the_batch_again() -> None:
    training = Training(registered()["queue"](size=64, warmup=0))
    stepper = training.stepper()
    first, second = PAIRS.query[:8], PAIRS.query[6:14]
    stepper.backward(first, PAIRS.positive[:8], None)
    batch, _ = stepper.backward(second, PAIRS.positive[6:14], None)
    assert batch.candidates.shape[0] == len(np.unique(PAIRS.positive[:14]))
    for q, query in enumerate(second):
        columns = np.unique(PAIRS.positive[:14])[batch.relevant[q].numpy()]
        row = int(np.flatnonzero(TRAIN.queries == query)[0])
        assert set(columns) == set(TRAIN.relevant[row].tolist()) & set(PAIRS.positive[:14].tolist())


# Two views of one text


@given(
    st.lists(st.integers(2, 20), min_size=1, max_size=9),
    st.floats(0.05, 0.5),
    st.integers(20, 40),
    st.integers(0, 99),
)
def test_repeated_tokens_stand_in_place_and_special_ones_once(
    lengths: list[int], share: float, longest: int, seed: int
) -> None:
    offsets = np.cumsum([0, *lengths])
    tokens = Tokens(np.arange(offsets[-1], dtype=np.int32), offsets, 0)  # no two tokens alike
    got = repeated(tokens, np.arange(len(lengths)), share, longest, np.random.default_rng(seed))
    for row, length in enumerate(lengths):
        before, after = tokens[row].tolist(), got[row].tolist()
        assert sorted(after) == after and sorted(set(after)) == before, "each token in its place"
        assert max(Counter(after).values()) <= 2 and len(after) <= min(longest, length + max(2, int(share * length)))
        assert after.count(before[0]) == after.count(before[-1]) == 1, "special tokens stand once"
        assert length > 5 or after == before


def test_two_views_draw_their_own_repetitions() -> None:
    training = Training(registered()["simcse"](repetition=0.5))
    found = training.parts(training.strategy, training.directory)[0]
    rows = np.arange(20)
    (left, _), (right, _) = found.parts(rows, rows, 3)
    (same, _), _ = found.parts(rows, rows, 3)
    assert not np.array_equal(left.offsets, right.offsets)
    np.testing.assert_array_equal(left.ids, same.ids)


def test_equal_texts_are_one_example() -> None:
    data = replace(DATA, unlabelled=["a b", "c d", "a b"])
    training = Training(registered()["simcse"]())
    training.data = data
    assert len(training.parts(training.strategy, training.directory)[0].pairs) == 2


def test_the_vocabulary_holds_what_can_be_drawn() -> None:
    training = Training(registered()["mnr"]())
    found = Material(PAIRS, training.queries, training.passages)
    alone, all_of_it = found.vocabulary(np.zeros(0, dtype=np.int64)), found.vocabulary(np.arange(80))
    assert set(alone) <= set(all_of_it)
    assert set(np.unique(training.passages.ids)) <= set(all_of_it)


def test_declarations_by_default_sample_nothing() -> None:
    assert InBatch().n == 0 and InBatch().queue == 0 and TwoViews().repetition == 0
