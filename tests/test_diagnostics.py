"""Warnings about training that continues but does not do what its settings request."""

from __future__ import annotations

import pytest

from bench.train.diagnostics import diagnose
from strategies import Strategy, registered

FINE = {"negatives": 31.0, "active": 0.5}


def told(name: str, row: dict[str, float], step: int = 10, over: bool = False, **knobs: object) -> list[str]:
    strategy: Strategy = registered()[name](**knobs)
    return [text.partition(":")[0] for text in diagnose(strategy, {**FINE, **row}, step, over)]


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


def test_a_queue_that_never_counted_is_told_at_the_end() -> None:
    assert told("queue", {}, step=50, over=True, warmup=50) == ["the queue was never used"]
    assert told("queue", {}, step=50, over=False, warmup=50) == []
    assert told("queue", {}, step=51, over=True, warmup=50) == []


def test_negatives_that_were_never_mined_again_are_told_at_the_end() -> None:
    assert told("ance", {}, step=25, over=True, refresh=25) == ["nothing was mined again"]
    assert told("ance", {}, step=25, over=False, refresh=25) == []
    assert told("ance", {}, step=26, over=True, refresh=25) == []
    assert told("mined_hard", {}, step=26, over=True) == []
