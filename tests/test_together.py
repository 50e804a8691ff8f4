"""What ranks do together beside training: encode, mine, and keep it once; equal to what one rank does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from ranks import together
from toys import DATA, MNR, PAIRS, TRAIN, Training

from bench.cache import Cache, Entry
from bench.data.tokens import Tokens, tokenize
from bench.errors import UserError
from bench.model import embedding
from bench.model.embedding import embed, encode
from bench.negatives import NegativesContext
from bench.negatives.pool_sampler import PoolSampler
from bench.negatives.searchers import BM25Searcher
from bench.together import made_together
from bench.world import World
from strategies.negatives import Mined

T = TypeVar("T")
RANKS = [2, 3]


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of some texts each, so that there are several to share out; and nothing that other tests made."""
    monkeypatch.setattr("bench.cache._own", {})
    monkeypatch.setitem(embedding.TOKENS_AT_ONCE, "cpu", 64)


def of_ranks(size: int, work: Callable[[World, Training], T]) -> list[T]:
    """What ``work`` gives on each rank, whose encoders are equal but each its own."""
    each = [Training(MNR, dropout=0.0) for _ in range(size)]
    return together(size, lambda world: work(world, each[world.rank]))


def texts(training: Training, count: int) -> Tokens:
    """As many texts, some of them equal."""
    known = [*DATA.passages, *DATA.queries, *DATA.passages[:9]]
    return tokenize(known[:count], training.encoder.tokenizer, 16)


@pytest.mark.parametrize("size", RANKS)
@pytest.mark.parametrize("count", [0, 1, 2, 209])
@pytest.mark.parametrize("raw", [False, True])
def test_ranks_encode_as_one_does(size: int, count: int, raw: bool) -> None:
    def work(world: World, training: Training) -> tuple[Any, int]:
        told: list[int] = []
        found = encode(training.encoder, texts(training, count), "fp32", None, told.append, raw, world)
        return found, sum(told)

    ((wanted, number),) = of_ranks(1, work)
    assert number == count
    for vectors, told in of_ranks(size, work):
        assert np.array_equal(vectors, wanted) and told == count


def test_a_text_is_encoded_by_one_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[int] = []
    plain = embedding.pack

    def pack(parts: Any, *more: Any) -> Any:
        encoded.append(sum(len(rows) for _, rows in parts))
        return plain(parts, *more)

    monkeypatch.setattr(embedding, "pack", pack)
    of_ranks(3, lambda world, training: encode(training.encoder, texts(training, 150), "fp32", world=world))
    assert sum(encoded) == len(set([*DATA.passages, *DATA.queries][:150])) and len(encoded) > 6


def test_vectors_are_kept_once_and_found_by_all(tmp_path: Path) -> None:
    cache = Cache(tmp_path)

    def work(world: World, training: Training) -> Any:
        prepared = training.prepared("start")
        found, cost = embed(prepared, prepared.passages, np.arange(70), cache, world=world)
        assert cost.texts == 70
        return np.asarray(found.matrix)

    first, second, third = of_ranks(3, work)
    (entry,) = tmp_path.glob("vectors-*")
    before = (entry / "entry.json").stat().st_mtime_ns
    assert np.array_equal(first, second) and np.array_equal(first, third)
    assert np.array_equal(of_ranks(2, work)[1], first)
    assert (entry / "entry.json").stat().st_mtime_ns == before
    alone = Training(MNR, dropout=0.0)
    assert np.array_equal(first, encode(alone.encoder, alone.passages, "fp32", np.arange(70)))


@pytest.mark.parametrize("size", RANKS)
@pytest.mark.parametrize("by", ["start", "bm25"])
def test_ranks_mine_as_one_does(by: str, size: int, tmp_path: Path) -> None:
    def miner(place: Path) -> Callable[[World, Training], tuple[Any, Any]]:
        def work(world: World, training: Training) -> tuple[Any, Any]:
            declared = Mined(by=by, first=0, last=20, n=3)
            context = NegativesContext(DATA, PAIRS, 0, training.prepared, place, Cache(place), world=world)
            pool = PoolSampler(declared, context).pool
            assert pool is not None
            return np.asarray(pool.entries), pool.positives

        return work

    ((entries, positives),) = of_ranks(1, miner(tmp_path / "one"))
    for found, known in of_ranks(size, miner(tmp_path / "ranks")):
        assert np.array_equal(found["passage"], entries["passage"])
        np.testing.assert_allclose(found["score"], entries["score"], rtol=0, atol=1e-6)
        assert np.array_equal(known, positives)
    assert len(list((tmp_path / "ranks").glob("pool-*"))) == 1


def test_a_query_is_searched_by_one_rank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[int] = []
    plain = BM25Searcher.search

    def search(self: BM25Searcher, rows: Any, *more: Any) -> Any:
        searched.extend(rows.tolist())
        return plain(self, rows, *more)

    monkeypatch.setattr(BM25Searcher, "search", search)

    def work(world: World, training: Training) -> None:
        context = NegativesContext(DATA, PAIRS, 0, training.prepared, tmp_path, Cache(tmp_path), world=world)
        PoolSampler(Mined(by="bm25", first=0, last=20, n=3), context)

    of_ranks(2, work)
    assert sorted(searched) == list(range(len(TRAIN)))


def test_a_pool_is_searched_again_by_all_and_read_by_all(tmp_path: Path) -> None:
    def work(world: World, training: Training) -> tuple[Any, int]:
        context = NegativesContext(DATA, PAIRS, 0, training.prepared, tmp_path, world=world)
        sampler = PoolSampler(Mined(by="current", first=0, last=20, n=3, refresh=2), context)
        sampler.refresh(0)
        cost = sampler.refresh(2)
        assert sampler.pool is not None and not sampler.due(2)
        return np.asarray(sampler.pool.entries), cost.texts

    (first, texts), (second, _) = of_ranks(2, work)
    assert np.array_equal(first, second) and texts == len(TRAIN) + len(DATA.passages)


def test_an_entry_is_made_by_all_or_found_by_all(tmp_path: Path) -> None:
    made: list[int] = []

    def work(world: World) -> Any:
        def make(place: Path) -> dict[str, int]:
            made.append(world.rank)
            (place / "file").write_text(str(world.rank))
            return {"rank": world.rank}

        found = made_together(Cache(tmp_path), "thing", make, world)
        return found.facts["rank"], (found.path / "file").read_text()

    for _ in range(2):
        assert together(3, work) == [(0, "0")] * 3
    assert sorted(made) == [0, 1, 2]


def test_a_rank_that_does_not_see_the_cache_says_so(tmp_path: Path) -> None:
    class Elsewhere(World):
        """A rank of another machine, which gets a path that is none there."""

        rank, size = 1, 2

        def broadcast(self, value: Any) -> Any:
            return Entry(tmp_path / "there", {}) if isinstance(value, Entry) else value

    with pytest.raises(UserError, match=r"rank 1 does not see .*there; .*common file system"):
        made_together(Cache(tmp_path), "thing", lambda place: {}, Elsewhere())


def test_a_disk_that_refuses_is_told(tmp_path: Path) -> None:
    def work(world: World) -> Any:
        def make(place: Path) -> dict[str, int]:
            if world.first:
                raise OSError(28, "No space left on device")
            return {}

        return made_together(Cache(tmp_path), "thing", make, world)

    with pytest.raises(UserError, match="No space left"):
        together(2, work)
