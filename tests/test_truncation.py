"""Texts that are longer than the encoder is asked to read are counted for each split, and told where they are many."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import PASSAGES, bench
from tiny_runs import only_run, record_of, words


def test_a_run_counts_truncated_texts_of_each_split_and_warns(data: Path, tmp_path: Path) -> None:
    short = {"encoder__max_passage_tokens": "4", "encoder__max_query_tokens": "32", "train__max_steps": "1"}
    assert bench(*words(data, tmp_path, **short)) == 0
    record = record_of(only_run(tmp_path))
    cut = record.data["truncated"]
    assert cut["corpus"] == cut["passages"] == PASSAGES
    assert (cut["train_positives"], cut["dev_positives"], cut["test_positives"]) == (24, 8, 8)
    assert cut["train_queries"] == cut["dev_queries"] == cut["test_queries"] == 0
    (warning,) = [told for told in record.training["warnings"] if "truncated" in told]
    assert warning == (
        f"texts were truncated: {PASSAGES} of {PASSAGES} passages of the corpus (100%) are longer than "
        "encoder.max_passage_tokens=4"
    )


def test_what_fits_is_counted_and_not_warned_of(data: Path, tmp_path: Path) -> None:
    assert bench(*words(data, tmp_path, train__max_steps="0")) == 0
    record = record_of(only_run(tmp_path))
    assert set(record.data["truncated"].values()) == {0}
    assert not [told for told in record.training["warnings"] if "truncated" in told]


def test_inspect_says_it_beforehand(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("data", "inspect", str(data), "--encoder", "scratch") == 0
    out = capsys.readouterr().out
    assert "truncated by encoder=scratch (64 tokens a query, 128 a passage)" in out
    assert "corpus                   0    0.0%      0.0%" in out
    assert bench("data", "inspect", str(data), "--encoder", "no-such") == 2
