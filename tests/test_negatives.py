"""Carrying out declarations of negatives: sampling, guides, and what a data set cannot give."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toys import DATA, PAIRS, ROWS, TRAIN

from bench.data.dataset import Ragged, Split
from bench.errors import UserError
from bench.negatives import NegativesContext, check, negative_sampler, view
from bench.negatives.random_sampler import distinct, pick
from strategies import find, registered
from strategies.examples import TwoViews
from strategies.negatives import Guide, InBatch, Negatives, Provided, RandomGlobal

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
def test_draws_follow_from_seed_and_step_alone(declaration: Negatives, context: NegativesContext) -> None:
    one, two = negative_sampler(declaration, context), negative_sampler(declaration, context)
    two.draw(ROWS, 4)  # whatever was drawn before
    for step in (0, 7):
        first, second = one.draw(ROWS, step), two.draw(ROWS, step)
        assert first is not None and second is not None
        np.testing.assert_array_equal(first.ids, second.ids)
        assert np.isin(first.ids, np.union1d(one.reach(), PAIRS.positive)).all()
    assert not np.array_equal(one.draw(ROWS, 0).ids, one.draw(ROWS, 1).ids)
    other = negative_sampler(declaration, replace(context, seed=1)).draw(ROWS, 0)
    assert not np.array_equal(one.draw(ROWS, 0).ids, other.ids)


def test_random_passages_come_from_the_whole_corpus_evenly(context: NegativesContext) -> None:
    drawn = negative_sampler(RandomGlobal(5), context)
    counts = np.bincount(np.concatenate([drawn.draw(ROWS, s).ids.ravel() for s in range(100)]), minlength=80)
    expected = 100 * 5 * len(ROWS) / 80
    assert len(counts) == 80 and np.abs(counts - expected).max() < 6 * math.sqrt(expected)


def test_a_pool_is_chosen_once_for_a_query(context: NegativesContext) -> None:
    drawn = negative_sampler(RandomGlobal(2, pool=4), context)
    met: dict[int, set[int]] = {}
    for step in range(60):
        for pair, row in enumerate(drawn.draw(ROWS, step).ids.tolist()):
            met.setdefault(int(PAIRS.query[pair]), set()).update(row)
    assert {len(passages) for passages in met.values()} == {4}


def test_provided_negatives_are_the_query_s_own_and_a_free_place_holds_its_positive(context: NegativesContext) -> None:
    drawn = negative_sampler(Provided(3), context).draw(ROWS, 0)
    assert drawn.free.any() and not drawn.free.all()
    for pair in ROWS:
        given_ = set(TRAIN.negatives[PAIRS.row[pair]].tolist())
        assert set(drawn.ids[pair][~drawn.free[pair]].tolist()) <= given_
        assert set(drawn.ids[pair][drawn.free[pair]].tolist()) <= {int(PAIRS.positive[pair])}


def test_declarations_by_default_sample_nothing() -> None:
    assert InBatch().n == 0 and InBatch().queue == 0 and TwoViews().repetition == 0


# Guides


def test_a_guide_sees_the_batch_as_it_embeds_it(context: NegativesContext) -> None:
    sides = lambda reader: ((reader.queries, np.sort(TRAIN.queries)), (reader.passages, np.arange(5, 40)))  # noqa: E731
    seen, again = (view(Guide("another"), context, sides, np.arange(30, 60)) for _ in range(2))
    queries, passages = TRAIN.queries[[3, 1]], np.array([7, 20, 59])
    left, right = seen.vectors(queries, passages)
    torch.testing.assert_close(seen.scores(queries, passages), left @ right.T)
    torch.testing.assert_close(left.norm(dim=1), torch.ones(2))
    np.testing.assert_array_equal(left, again.vectors(queries, passages)[0])
    assert seen.cost == again.cost and seen.cost.texts == len(TRAIN) + 55


def test_scores_of_the_data_are_known_for_the_own_group_alone(context: NegativesContext) -> None:
    seen = view(Guide("data"), context, lambda reader: pytest.fail("scores need no encoder"), np.arange(80))
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
        ("provided_hard", {}, "provides no negatives"),
        ("triplet", {"negative": "provided"}, "provides no negatives"),
        ("distil", {"teacher": "data"}, "provides no negatives"),
        ("simcse", {}, "no unlabelled texts; texts=corpus"),
        ("simcse_ibn", {}, "strategy simcse: .*no unlabelled texts"),
        ("mined_hard", {}, "ranks up to 210 .* 80 passages, up to 2 .* 78 ranks"),
        ("ance", {}, "ranks up to 200"),
        ("random_global", {"group": 81}, "80 negatives are more than the 80 passages"),
        ("random_global", {"pool": 90}, "90 passages of a pool are more than"),
        ("random_global", {"pool": 5}, "7 negatives cannot be drawn from a pool of 5"),
    ],
)
def test_what_cannot_be_had_is_told(name: str, knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check(registered()[name](**knobs), BARE)


@pytest.mark.parametrize(("name", "knob"), [("guided", "by"), ("similarity_distil", "teacher")])
def test_scores_are_no_guide_of_a_loss_on_vectors(name: str, knob: str) -> None:
    with pytest.raises(ValueError, match=f"strategy.{knob}=data has scores but no vectors; name an encoder"):
        registered()[name](**{knob: "data"})


GRADES, CLASSES = (DATA.tasks[name]["train"] for name in ("similarity", "inference"))


@pytest.mark.parametrize(
    ("name", "knobs", "tasks", "message"),
    [
        ("cosent", {}, {}, "no training pairs with scores; give a similarity data set with a train split"),
        ("cosent", {}, {"a": {"test": GRADES}}, "no training pairs with scores"),
        ("cosent", {}, {"b": {"train": replace(CLASSES, classes=("a", "b", "c"))}}, "no training pairs with scores"),
        ("cosent", {}, {"a": {"train": replace(GRADES, label=GRADES.label * 0 + 2)}}, "task a: .* the score 2;"),
        ("softmax_nli", {}, {"a": {"train": GRADES}}, "no training pairs with classes; give an inference set"),
        ("softmax_nli", {"classes": 2}, {"b": {"train": CLASSES}}, r"3 classes \(entail.*\), .*strategy.classes=3"),
        ("softmax_nli", {}, {"b": {"train": replace(CLASSES, label=CLASSES.label * 0 + 1)}}, "have the class neutral"),
        ("cosent+softmax_nli", {}, {"a": {"train": GRADES}}, "strategy softmax_nli: .*no training pairs with classes"),
        ("similarity_distil", {"texts": "tasks"}, {}, "no training pairs of a similarity task or an inference set"),
        ("mnr", {}, {}, "no train split"),
        ("simbert", {}, {}, "no train split"),
        ("mnr", {}, {"a": {"train": GRADES}}, "a score or a class, but none of a query and a passage.*ScoredPairs"),
        ("mnr", {}, {"a": {"test": GRADES}}, r"they are of test\. train\.max_steps=0 .*cosent.*data\.columns="),
    ],
)
def test_labels_that_cannot_be_had_are_told(
    name: str, knobs: dict[str, Any], tasks: dict[str, Any], message: str
) -> None:
    data = replace(DATA, splits={}, tasks=tasks)
    with pytest.raises(UserError, match=message):
        check(find(name)(**knobs), data)


def test_what_can_be_had_is_not_refused() -> None:
    for name in ("simcse", "cosent", "softmax_nli"):
        check(registered()[name](), replace(DATA, splits={}))
    same = replace(GRADES, label=GRADES.label * 0 + 1)  # similar pairs, of which only the texts are used
    check(registered()["similarity_distil"](texts="tasks"), replace(DATA, splits={}, tasks={"a": {"train": same}}))
    check(registered()["softmax_nli"](classes=4), DATA)
    check(registered()["cosent"](), replace(DATA, splits={}, tasks={"b": {"train": CLASSES}}))
    for name in ("in_batch", "provided_hard", "simcse", "simcse_ibn", "random_global"):
        check(registered()[name](), DATA)
    check(registered()["distil"](teacher="data"), DATA)
