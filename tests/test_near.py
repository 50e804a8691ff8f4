"""Drawing negatives by weight: how often each is drawn, and which can be, against the formulas as plain loops."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from toys import PAIRS, ROWS, TRAIN, Training

from bench.model.embedding import encode
from bench.negatives import NegativesContext, negative_sampler
from bench.negatives.near import drawn_near
from bench.negatives.random_sampler import weighted
from strategies import registered
from strategies.negatives import Mined, Near

MANY = 20_000


def chances(weights: list[float], n: int) -> list[float]:
    """How probable each is to be among ``n`` that are drawn one after the other."""
    found = [0.0] * len(weights)
    for order in permutations(range(len(weights)), n):
        left, probability = sum(weights), 1.0
        for place in order:
            probability *= weights[place] / left
            left -= weights[place]
        for place in order:
            found[place] += probability
    return found


def shares(place: np.ndarray, of: int) -> np.ndarray:
    return np.bincount(place.ravel(), minlength=of) / len(place)


def assert_near(found: np.ndarray, wanted: list[float]) -> None:
    """Within five standard deviations of a share of MANY."""
    for share, chance in zip(found, wanted, strict=True):
        assert abs(share - chance) <= 5 * math.sqrt(chance * (1 - chance) / MANY) + 1e-12


@pytest.mark.parametrize("n", [1, 2, 3])
def test_each_is_drawn_as_often_as_its_weight_says(n: int) -> None:
    weights = [0.1, 2.0, 0.0, 0.7, 1.2]
    with np.errstate(divide="ignore"):
        log_weight = np.log(np.tile(weights, (MANY, 1)))
    place, missing = weighted(np.random.default_rng(0), log_weight, n)
    assert not missing.any() and (place != 2).all()
    assert all(len(set(row)) == n for row in place[:200].tolist())
    assert_near(shares(place, 5), chances(weights, n))


def test_what_is_not_there_stays_free() -> None:
    log_weight = np.array([[0.0, -np.inf, -800.0], [-np.inf] * 3])
    place, missing = weighted(np.random.default_rng(0), log_weight, 3)
    assert missing.tolist() == [[False, False, True], [True] * 3] and set(place[0][:2]) == {0, 2}


SCORES, POSITIVE = [0.9, 0.72, 0.7, 0.66, 0.5], 0.7
TO_POSITIVE = [0.95, 0.6, 0.9, 0.86, 0.8]


def drawn(near: Near, n: int, fit: list[bool] | None = None) -> tuple[np.ndarray, np.ndarray]:
    passages = tuple(np.tile(each, (MANY, 1)) for each in (range(5), SCORES, fit or [True] * 5))

    def to_positive(ids: np.ndarray) -> np.ndarray:
        return np.array(TO_POSITIVE)[ids]

    return drawn_near(near, np.random.default_rng(1), passages, np.full(MANY, POSITIVE), n, to_positive)


@pytest.mark.parametrize("near", [Near(0.5, scale=20.0), Near(3.0, shift=-0.5, scale=10.0)])
def test_simans_draws_by_its_formula(near: Near) -> None:
    weights = [math.exp(-near.sharpness * (near.scale * s - near.scale * POSITIVE - near.shift) ** 2) for s in SCORES]
    place, free = drawn(near, 2)
    assert not free.any()
    assert_near(shares(place, 5), chances(weights, 2))
    place, _ = drawn(near, 2, [True, True, False, True, True])
    assert_near(shares(place, 5), chances([*weights[:2], 0.0, *weights[3:]], 2))


def test_trisampler_draws_candidates_and_of_these_by_the_triangle() -> None:
    near = Near(0.25, scale=20.0, candidates=3)
    weights = [math.exp(-((20 * s - 20 * POSITIVE) ** 2) / 4) for s in SCORES]
    inside = [max(0.0, to - s) for to, s in zip(TO_POSITIVE, SCORES, strict=True)]
    wanted = [0.0] * 5
    for order in permutations(range(5), 3):
        left, probability = sum(weights), 1.0
        for place in order:
            probability *= weights[place] / left
            left -= weights[place]
        total = sum(inside[place] for place in order)
        for place in order:
            wanted[place] += probability * inside[place] / total
    place, free = drawn(near, 1)
    assert not free.any()
    assert_near(shares(place, 5), wanted)


def test_passages_outside_the_triangle_are_never_drawn() -> None:
    place, free = drawn(Near(0.0, candidates=5), 5)
    assert free.sum(1).tolist() == [1] * MANY and 1 not in place[~free]


@pytest.mark.parametrize("name", ["simans", "trisampler"])
def test_of_a_corpus_it_draws_the_nearest(name: str, context: NegativesContext, training: Training) -> None:
    """With so sharp a weight that chance decides nothing in the first draw."""
    sharp = registered()[name](n=5, last=60, sharpness=1e9, **({"candidates": 10} if name == "trisampler" else {}))
    assert isinstance(sharp.negatives, Mined)
    sampler = negative_sampler(sharp.negatives, context)
    found, again = (sampler.draw(ROWS, 3) for _ in range(2))
    np.testing.assert_array_equal(found.ids, again.ids)
    queries = encode(training.encoder, training.queries, "fp32")
    passages = encode(training.encoder, training.passages, "fp32")
    for pair in ROWS:
        asked, positive = queries[PAIRS.query[pair]], passages[PAIRS.positive[pair]]
        known = set(TRAIN.relevant[PAIRS.row[pair]].tolist())
        scores = passages @ asked
        ranked = sorted((p for p in range(80) if p not in known), key=lambda p, s=scores: -s[p])[:60]
        nearest = sorted(ranked, key=lambda p, s=scores, to=asked @ positive: abs(s[p] - to))
        got = set(found.ids[pair][~found.free[pair]].tolist())
        if name == "simans":
            far = [abs(scores[p] - asked @ positive) for p in got]
            assert len(got) == 5 and max(far) <= abs(scores[nearest[4]] - asked @ positive) + 1e-6
        else:
            inside = {p for p in nearest[:10] if passages[p] @ positive > scores[p] + 1e-6}
            assert len(got) >= min(5, len(inside)) and got <= {
                p for p in nearest[:11] if passages[p] @ positive > scores[p] - 1e-6
            }
