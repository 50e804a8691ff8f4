"""Training that does not do what its settings request: the warnings, and why a run is invalid."""

from __future__ import annotations

import pytest

from bench.train.diagnostics import diagnose, invalid
from strategies import registered

FINE = {"negatives": 31.0, "active": 0.5}


def told(name: str, row: dict[str, float]) -> list[str]:
    return [text.partition(":")[0] for text in diagnose(registered()[name](), {**FINE, **row}, 10)]


@pytest.mark.parametrize(
    ("name", "row", "expected"),
    [
        ("in_batch", {}, []),
        ("hardest_neg", {"active": 0.0}, ["every loss is zero"]),
        ("in_batch", {"active": 0.0, "negatives": 0.0}, ["no query has a negative"]),
        ("similarity_distil", {"active": 0.0, "negatives": 0.0}, ["every loss is zero"]),
        ("similarity_distil", {"negatives": 0.0}, []),
        ("mined_hard", {"drawn_free": 0.2}, []),
        ("mined_hard", {"drawn_free": 0.9}, ["most places for negatives are empty"]),
        ("provided_hard", {"drawn_labelled": 0.4}, []),
        ("provided_hard", {"drawn_labelled": 1.0}, ["most negatives are positives"]),
    ],
)
def test_what_a_window_tells(name: str, row: dict[str, float], expected: list[str]) -> None:
    assert told(name, row) == expected


@pytest.mark.parametrize(
    ("name", "seen", "why"),
    [
        ("in_batch", {"effective_negatives": 3.0}, None),
        ("in_batch", {"negatives": 0.0, "active": 0.0}, "no query had a negative"),
        ("in_batch", {"effective_negatives": 0.0}, "no negative had a gradient"),
        ("mined_hard", {"drawn": 0.0}, "no negative was found"),
        ("mined_hard", {"drawn": 0.1, "drawn_free": 0.9}, None),
        ("queue", {"queued": 0.0}, "the queue was never used"),
        ("queue", {"queued": 0.01}, None),
        ("ance", {"drawn_again": 0.0}, "no negative was replaced"),
        ("ance", {"drawn_again": 0.01}, None),
        ("semi_hard", {"acted": 0.0}, "for no query was a negative farther"),
        ("guided", {"guide_above": 0.0}, None),
        ("cosent", {"active": 0.0}, "every loss was zero"),
        ("similarity_distil", {"negatives": 0.0, "effective_negatives": 0.0}, None),
    ],
)
def test_a_run_is_invalid_where_what_is_declared_never_acted(
    name: str, seen: dict[str, float], why: str | None
) -> None:
    found = invalid(registered()[name](), {**FINE, **seen}, kept=100)
    assert found is None if why is None else found is not None and found.startswith(why)


@pytest.mark.parametrize(("name", "knob"), [("queue", "warmup"), ("ance", "refresh")])
def test_a_run_is_invalid_where_the_weights_that_did_best_are_from_before_the_mechanism(name: str, knob: str) -> None:
    strategy = registered()[name](**{knob: 20})
    assert invalid(strategy, FINE, kept=21) is None
    found = invalid(strategy, FINE, kept=20)
    assert found is not None and found.startswith("the weights of step 20 did best on dev") and f"{knob}=20" in found
