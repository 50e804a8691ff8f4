"""What is trained on: two views of one text, each text once, and the vocabulary of all that can be drawn."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from toys import DATA, PAIRS, Training

from bench.data.tokens import Tokens
from bench.train.examples import PairExamples
from bench.train.repetition import repeated
from strategies import registered


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
    tokens = Tokens(
        np.arange(offsets[-1], dtype=np.int32), offsets, np.zeros(len(lengths), dtype=np.bool_)
    )  # no two tokens alike
    got = repeated(tokens, np.arange(len(lengths)), share, longest, np.random.default_rng(seed))
    for row, length in enumerate(lengths):
        before, after = tokens[row].tolist(), got[row].tolist()
        assert sorted(after) == after and sorted(set(after)) == before, "each token in its place"
        assert max(Counter(after).values()) <= 2 and len(after) <= min(longest, length + max(2, int(share * length)))
        assert after.count(before[0]) == after.count(before[-1]) == 1, "special tokens stand once"
        assert length > 5 or after == before


def test_two_views_draw_their_own_repetitions() -> None:
    training = Training(registered()["simcse"](repetition=0.5))
    found = training.objective(training.strategy, training.directory).examples
    rows = np.arange(20)
    (left, _), (right, _) = found.parts(rows, rows, 3, 0)
    (same, _), _ = found.parts(rows, rows, 3, 0)
    assert not np.array_equal(left.offsets, right.offsets)
    np.testing.assert_array_equal(left.ids, same.ids)


def test_equal_texts_are_one_example() -> None:
    data = replace(DATA, unlabelled=["a b", "c d", "a b"])
    training = Training(registered()["simcse"]())
    training.data = data
    assert len(training.objective(training.strategy, training.directory).examples) == 2


def test_the_vocabulary_holds_what_can_be_drawn() -> None:
    training = Training(registered()["mnr"]())
    found = PairExamples(PAIRS, training.queries, training.passages)
    alone, all_of_it = found.vocabulary(np.zeros(0, dtype=np.int64)), found.vocabulary(np.arange(80))
    assert set(alone) <= set(all_of_it)
    assert set(np.unique(training.passages.ids)) <= set(all_of_it)
