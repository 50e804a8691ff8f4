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
        "mnr seed 1: recall@1 50.00, 2 min (1 of 4 done, highest recall@1 50.00 of mnr seed 1, about 5 min left)",
        "mnr seed 2: recall@1 40.00, 3 min (2 of 4 done, highest recall@1 50.00 of mnr seed 1, about 5 min left)",
    ]


def test_what_was_done_before_is_counted_and_takes_no_time(capsys: pytest.CaptureFixture[str]) -> None:
    suite = Suite(3)
    suite.finished("a", "recall@1", 10.0, None)
    assert capsys.readouterr().err == ""
    assert suite.status == "1 of 3 done, highest recall@1 10.00 of a"
    suite.finished("b", "recall@1", None, 30.0)
    assert capsys.readouterr().err.startswith("b: failed, 30 s (2 of 3 done, highest recall@1 10.00 of a")
    suite.finished("c", "recall@1", 9.0, 30.0)
    assert suite.status == "3 of 3 done, highest recall@1 10.00 of a"


def test_trials_and_final_runs_are_not_measured_alike() -> None:
    suite = Suite(3)
    suite.finished("trial", "exact/mrr@10", 70.0, None)
    suite.finished("final", "recall@1", 60.0, None)
    assert suite.status == "2 of 3 done, highest recall@1 60.00 of final"
