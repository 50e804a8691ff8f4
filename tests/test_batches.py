"""From pairs to packed batches: each pair once an epoch, its labels, and texts laid end to end."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from toys import plainly

from bench.data.dataset import Ragged, Split
from bench.data.pairs import Pairs
from bench.data.sampler import batch_rows, steps_per_epoch
from bench.data.tokens import Tokens
from bench.model.packing import by_length, pack


@plainly
@given(st.integers(1, 50), st.integers(1, 20), st.integers(0, 2**31))
def test_each_epoch_is_another_permutation(pairs: int, size: int, seed: int) -> None:
    steps = steps_per_epoch(pairs, size)
    epochs = [[batch_rows(pairs, size, seed, epoch * steps + step) for step in range(steps)] for epoch in range(3)]
    for batches in epochs:
        assert sorted(np.concatenate(batches)) == list(range(pairs))
        assert all(len(batch) == size for batch in batches[:-1])
        assert len(batches[-1]) == (pairs - 1) % size + 1


def test_epochs_and_seeds_differ_and_repeat() -> None:
    orders = [batch_rows(100, 100, seed, epoch).tolist() for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4
    assert orders == [batch_rows(100, 100, seed, epoch).tolist() for seed in (0, 1) for epoch in (0, 1)]


labels = st.lists(st.sets(st.integers(0, 12), min_size=1), min_size=1, max_size=8)


@plainly
@given(labels, st.data())
def test_relevance_of_a_batch_is_the_labels_of_its_queries(rows: list[set[int]], data: st.DataObject) -> None:
    ids = data.draw(st.permutations(range(20)))[: len(rows)]
    relevant = dict(zip(ids, rows, strict=True))
    pairs = Pairs(Split(np.array(ids), Ragged.of([sorted(row) for row in rows])))
    assert list(zip(pairs.query, pairs.positive, strict=True)) == [(q, p) for q in ids for p in sorted(relevant[q])]
    queries = data.draw(st.lists(st.sampled_from(ids), min_size=1, max_size=9))
    passages = sorted(data.draw(st.sets(st.integers(0, 14), min_size=1)))
    wanted = [[p in relevant[q] for p in passages] for q in queries]
    assert pairs.relevant(np.array(queries), np.array(passages)).tolist() == wanted


# Packing


def store(lengths: list[int], first: int) -> Tokens:
    """Texts whose tokens are all different, counted from ``first``."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Tokens(
        np.arange(first, first + offsets[-1], dtype=np.int32), offsets, np.zeros(len(lengths), dtype=np.bool_)
    )


parts_of_texts = st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=9), min_size=1, max_size=3)


@plainly
@given(parts_of_texts, st.integers(1, 30), st.one_of(st.none(), st.floats(1, 3)))
def test_chunks_hold_each_text_once_within_their_bounds(
    lengths: list[list[int]], size: int, slack: float | None
) -> None:
    parts = [(store(part, 0), np.arange(len(part))) for part in lengths]
    every = [length for part in lengths for length in part]
    chunks = by_length(parts, size, slack)
    assert sorted(np.concatenate(chunks)) == list(range(len(every)))
    in_order = [every[i] for chunk in chunks for i in chunk]
    assert in_order == sorted(every)
    for chunk in chunks:
        assert 1 <= len(chunk) <= size
        if slack is not None:
            assert every[chunk[-1]] <= every[chunk[0]] * slack + 8


@plainly
@given(parts_of_texts, st.data())
def test_a_packed_batch_holds_its_texts_shortest_first(lengths: list[list[int]], data: st.DataObject) -> None:
    parts, texts = [], []
    for number, part in enumerate(lengths):
        tokens = store(part, 1000 * number)
        rows = data.draw(st.lists(st.integers(0, len(part) - 1), min_size=1, max_size=12))
        parts.append((tokens, np.array(rows)))
        texts += [tokens[row].tolist() for row in rows]
    order = data.draw(st.one_of(st.none(), st.lists(st.integers(0, len(texts) - 1), min_size=1)))
    chosen = texts if order is None else [texts[i] for i in order]
    packed = pack(parts, None if order is None else np.array(order))
    assert packed.lengths.tolist() == sorted(map(len, chosen))
    laid = [packed.ids[s : s + n].tolist() for s, n in zip(packed.starts, packed.lengths, strict=True)]
    assert [laid[i] for i in packed.restore] == chosen
    assert [token for text in laid for token in text] == packed.ids.tolist()
    assert packed.positions.tolist() == [place for text in laid for place in range(len(text))]
    assert packed.text_of_token.tolist() == [i for i, text in enumerate(laid) for _ in text]
