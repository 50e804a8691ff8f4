"""A judge's verdicts on training negatives."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_generated import SMALL, SPLIT, pairs
from tiny import bench, words_for, write_data
from tiny_runs import only_run, record_of

from bench.config.overrides import resolve
from bench.data.dataset import DataSet
from bench.data.fingerprint import with_fingerprint
from bench.data.validation import DataError
from bench.data.verdicts import with_verdicts
from bench.errors import UserError

Rows = list[tuple[str, str, str]]


def written(path: Path, rows: Rows) -> Path:
    path.write_text(
        "".join(json.dumps(dict(zip(("query", "passage", "verdict"), row, strict=True))) + "\n" for row in rows)
    )
    return path


def judged(path: Path, rows: Rows, data: DataSet = SMALL) -> DataSet:
    return with_verdicts(data, written(path / "verdicts.jsonl", rows))


@pytest.mark.parametrize(
    ("rows", "red", "blue", "notice"),
    [
        ([("red shoe", "r", "relabel")], (["p", "r"], []), (["q", "r"], []), "negatives relabelled as positives"),
        ([("red shoe", "r", "drop")], (["p"], []), (["q", "r"], []), "provided negatives dropped"),
        ([("red shoe", "r", "keep")], (["p"], ["r"]), (["q", "r"], []), None),
        ([("red shoe", "q", "keep")], (["p"], ["r", "q"]), (["q", "r"], []), "provided negatives added"),
        ([("blue hat", "p", "relabel")], (["p"], ["r"]), (["q", "r", "p"], []), "negatives relabelled"),
        ([("red shoe", "q", "drop")], (["p"], ["r"]), (["q", "r"], []), "that were no provided negatives"),
        ([("blue hat", "q", "drop")], (["p"], ["r"]), (["q", "r"], []), "positives already, left out"),
    ],
)
def test_each_verdict_does_what_it_says(
    rows: Rows, red: tuple[list[str], list[str]], blue: tuple[list[str], list[str]], notice: str | None, tmp_path: Path
) -> None:
    """ "red shoe" has the positive p and the negative r, "blue hat" the positives q and r."""
    found = judged(tmp_path, [*rows, ("held out", "p", "relabel"), ("red shoe", "unheard of", "drop")])
    train = found.splits["train"]
    negatives = train.negatives if train.negatives is not None else [[]] * 2
    told = {
        found.queries[q]: ([found.passages[p] for p in train.relevant[n]], [found.passages[p] for p in negatives[n]])
        for n, q in enumerate(train.queries.tolist())
    }
    assert told == {"red shoe": red, "blue hat": blue}
    assert found.splits["test"] is SMALL.splits["test"]
    assert found.notices["verdicts on texts that are no training query or no passage, left out"] == 2
    others = [text for text in found.notices if "no training query" not in text]
    assert (notice is None and not others) or any(notice in text for text in others)
    assert (found.fingerprint == SMALL.fingerprint) == (told == pairs(SMALL))


def test_scores_and_grades_go_with_their_passages(tmp_path: Path) -> None:
    train = judged(tmp_path, [("red shoe", "r", "relabel"), ("red shoe", "q", "keep")]).splits["train"]
    assert train.grades.tolist() == [1, 1, 2, 3]
    np.testing.assert_allclose(train.positive_scores, np.float32([0.1, 0.9, 0.2, 0.3]))
    assert np.isnan(train.negative_scores).tolist() == [True]


def test_a_data_set_without_negatives_gets_those_that_are_kept(tmp_path: Path) -> None:
    bare = replace(SPLIT, negatives=None, negative_scores=None, positive_scores=None, grades=None)
    data = with_fingerprint(replace(SMALL, splits={**SMALL.splits, "train": bare}))
    train = judged(tmp_path, [("red shoe", "q", "keep")], data).splits["train"]
    assert train.negatives is not None and [train.negatives[n].tolist() for n in range(2)] == [[1], []]
    assert train.negative_scores is None and train.positive_scores is None and train.grades is None


def test_a_run_is_trained_on_the_verdicts(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    query, positive, *_ = (data / "train.tsv").read_text().splitlines()[0].split("\t")
    other = next(
        line.split("\t")[1] for line in (data / "train.tsv").read_text().splitlines() if line.split("\t")[0] != query
    )
    file = written(tmp_path / "verdicts.jsonl", [(query, other, "keep")])
    words = [f"{key}={value}" for key, value in words_for(data, tmp_path / "runs").items()]
    assert bench("run", "strategy=provided_hard", *words, f"data.judged={file}") == 0
    record = record_of(only_run(tmp_path / "runs"))
    assert record.config["data"]["judged"] == str(file) and positive
    assert resolve(["data.judged=x"]).run_id("f") == resolve([]).run_id("f"), "the fingerprint stands for it"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("red shoe", "r", "maybe")], "is no verdict.*relabel, drop, keep"),
        ([("red shoe", "r", "keep"), ("red shoe", "r", "drop")], "another verdict on the same query and passage"),
    ],
)
def test_what_is_no_verdict_is_told_with_its_line(rows: Rows, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"verdicts.jsonl:{len(rows)}: .*{message}"):
        judged(tmp_path, rows)


def test_a_file_that_does_not_fit_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no row is of a training query and a passage of small"):
        judged(tmp_path, [("green", "p", "drop")])
    (tmp_path / "other.jsonl").write_text('{"text": "x", "label": 1}\n')
    with pytest.raises(DataError, match="it has no columns query, passage, verdict"):
        with_verdicts(SMALL, tmp_path / "other.jsonl")
    with pytest.raises(UserError, match="has no training pairs"):
        judged(tmp_path, [("red shoe", "r", "drop")], replace(SMALL, splits={"test": SMALL.splits["test"]}))
