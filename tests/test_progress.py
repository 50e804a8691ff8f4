"""What a person sees of many runs: what is done, the highest so far, how long it will take."""

from __future__ import annotations

import pytest

from bench.progress import Suite


def test_a_suite_tells_what_is_done_what_is_best_and_what_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    suite = Suite(4)
    assert suite.status == "0 of 4 done"
    suite.finished("mnr seed 1", "recall@1", 50.0, 100.0)
    suite.finished("mnr seed 2", "recall@1", 40.0, 200.0)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == [
        "mnr seed 1: recall@1 50.00, 2 min (1 of 4 done, highest recall@1 50.00 of mnr seed 1)",
        "mnr seed 2: recall@1 40.00, 3 min (2 of 4 done, highest recall@1 50.00 of mnr seed 1, about 7 min left)",
    ]


def test_the_time_left_is_that_of_later_runs_and_not_of_the_first_which_fills_the_caches() -> None:
    suite = Suite(81)
    suite.finished("first", "recall@1", 50.0, 13.0)
    assert "left" not in suite.status, "nobody knows what the next will find in the cache"
    for seconds in (1.0, 1.0, 60.0, 1.0):
        suite.finished("cached", "recall@1", 50.0, seconds)
    assert suite.status.endswith("about 76 s left")
    for _ in range(20):
        suite.finished("slower", "recall@1", 50.0, 2.0)
    assert suite.status.endswith(f"about {2 * (81 - 25) / 60:.0f} min left")


def test_what_was_done_before_is_counted_and_takes_no_time(capsys: pytest.CaptureFixture[str]) -> None:
    suite = Suite(4)
    suite.finished("a", "recall@1", 10.0, None)
    assert capsys.readouterr().err == ""
    assert suite.status == "1 of 4 done, highest recall@1 10.00 of a"
    suite.finished("b", "recall@1", None, 30.0)
    assert capsys.readouterr().err == "b: failed, 30 s (2 of 4 done, highest recall@1 10.00 of a)\n"
    suite.finished("c", "recall@1", 9.0, 30.0)
    suite.finished("d", "recall@1", 9.0, 30.0)
    assert suite.status == "4 of 4 done, highest recall@1 10.00 of a"


def test_what_is_left_may_turn_out_to_be_less_or_already_done() -> None:
    suite = Suite()
    suite.expect(162)
    suite.finished("a", "recall@1", 10.0, 5.0)
    suite.finished("b", "recall@1", 10.0, 5.0)
    suite.expect(3)
    assert suite.status.startswith("2 of 5 done") and suite.status.endswith("about 15 s left")
    suite.expect(0)
    suite.finished("a again", "recall@1", 10.0, None)
    assert suite.status.startswith("3 of 3 done") and "left" not in suite.status


def test_trials_and_final_runs_are_not_measured_alike() -> None:
    suite = Suite(3)
    suite.finished("trial", "exact/mrr@10", 70.0, None)
    suite.finished("final", "recall@1", 60.0, None)
    assert suite.status == "2 of 3 done, highest recall@1 60.00 of final"
