"""Generated queries as further training pairs."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny import bench, words_for, write_data
from toys import DATA

from bench.data.dataset import DataSet, Ragged, Split
from bench.data.fingerprint import with_fingerprint
from bench.data.generated import with_generated
from bench.data.load import DataConfig, load
from bench.errors import UserError

SPLIT = Split(
    np.array([0, 1]),
    Ragged.of([[0], [1, 2]]),
    grades=np.float32([1, 2, 3]),
    negatives=Ragged.of([[2], []]),
    positive_scores=np.float32([0.1, 0.2, 0.3]),
    negative_scores=np.float32([0.9]),
)
SMALL = with_fingerprint(
    DataSet(
        "small",
        ("red shoe", "blue hat", "held out"),
        ("p", "q", "r"),
        {"train": SPLIT, "test": Split(np.array([2]), Ragged.of([[0]]))},
    )
)


def written(path: Path, made: dict[str, list[str]]) -> Path:
    lines = [{"text": text, "generated": [{"text": one, "cosine": 0.5} for one in of]} for text, of in made.items()]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def pairs(data: DataSet) -> dict[str, tuple[list[str], list[str]]]:
    """The positives and the provided negatives of each training query, in words."""
    train = data.splits["train"]
    assert train.negatives is not None
    return {
        data.queries[query]: tuple([data.passages[p] for p in rows[row]] for rows in (train.relevant, train.negatives))
        for row, query in enumerate(train.queries.tolist())
    }


def test_a_generated_query_has_the_judgments_of_the_one_it_was_made_from(tmp_path: Path) -> None:
    file = written(tmp_path / "g.jsonl", {"blue hat": ["azure cap", "a cap"], "red shoe": ["scarlet shoe"]})
    found = with_generated(SMALL, file, None)
    own = pairs(SMALL)
    made = {"azure cap": own["blue hat"], "a cap": own["blue hat"], "scarlet shoe": own["red shoe"]}
    assert pairs(found) == own | made
    train = found.splits["train"]
    of_query = {found.queries[q]: row for row, q in enumerate(train.queries.tolist())}
    place = train.relevant.positions(np.array([of_query["azure cap"]]))
    assert train.grades is not None and train.positive_scores is not None and train.negative_scores is not None
    assert train.grades[place].tolist() == [2, 3]
    assert train.positive_scores[place].tolist() == pytest.approx([0.2, 0.3])
    assert train.negative_scores.tolist() == pytest.approx([0.9, 0.9]), "of red shoe, and of scarlet shoe"
    assert found.fingerprint != SMALL.fingerprint and found.splits["test"] is SMALL.splits["test"]
    assert set(pairs(with_generated(SMALL, file, 1))) == {*own, "azure cap", "scarlet shoe"}
    assert with_generated(SMALL, file, 0).fingerprint == SMALL.fingerprint


def test_no_query_of_another_split_is_trained_on(tmp_path: Path) -> None:
    file = written(tmp_path / "g.jsonl", {"blue hat": ["held out", "red shoe", "new", "new"], "unknown": ["lost"]})
    found = with_generated(SMALL, file, None)
    assert found.queries == (*SMALL.queries, "new")
    assert dict(found.notices) == {
        "generated queries that equal another query, left out": 3,
        "train queries without a generated one": 1,
    }


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('{"text": "blue hat", "generated": "a cap"}', r"g.jsonl:1: is no line of bench generate --out"),
        ('{"text": "blue hat", "generated": [{"text": " "}]}', "g.jsonl:1: is no line"),
        ('{"generated": []}', "g.jsonl:1: is no line"),
        ('{"text": "somebody else", "generated": [{"text": "x"}]}', "no text in it is a training query of small"),
        (None, "g.jsonl: does not exist"),
    ],
)
def test_a_file_of_something_else_is_told(tmp_path: Path, lines: str | None, message: str) -> None:
    if lines is not None:
        (tmp_path / "g.jsonl").write_text(lines + "\n")
    with pytest.raises(UserError, match=message):
        with_generated(SMALL, tmp_path / "g.jsonl", None)


def test_settings_that_make_no_sense_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data.generated_per_query=2 needs data.generated=FILE"):
        DataConfig(generated_per_query=2)
    with pytest.raises(UserError, match=r"data\.generated_per_query=-1"):
        DataConfig(generated="g.jsonl", generated_per_query=-1)
    with pytest.raises(UserError, match="no training pairs of a query and a passage"):
        with_generated(replace(DATA, splits={}), tmp_path / "g.jsonl", None)


def test_only_queries_that_a_limit_leaves_are_repeated(tmp_path: Path) -> None:
    place = write_data(tmp_path / "data")
    queries = [line.split("\t")[0] for line in (place / "train.tsv").read_text().splitlines()]
    file = written(tmp_path / "g.jsonl", {query: [f"{query} again"] for query in queries})
    found = load(DataConfig(str(place), max_train=5, generated=str(file)))
    assert found.counts["train_queries"] == 10 and f"{queries[5]} again" not in found.queries


def test_the_study_compares_them_at_equal_texts(tmp_path: Path) -> None:
    place = write_data(tmp_path / "data")
    queries = [line.split("\t")[0] for line in (place / "train.tsv").read_text().splitlines()]
    file = written(tmp_path / "g.jsonl", {query: [f"{query} {n}" for n in range(4)] for query in queries})
    words = words_for(place, tmp_path / "runs") | {"budget.texts": "64", "data.generated": f"'{file}'"}
    given = [f"{key}={value}" for key, value in words.items() if key not in ("train.max_steps", "train.epochs")]
    assert bench("study", "generated_queries", *given, "seeds=2") == 0
    (result,) = tmp_path.glob("runs/studies/*/study.json")
    rows = json.loads(result.read_text())["comparison"]["rows"]
    assert sorted(row["label"] for row in rows) == [f"in_batch generated_per_query={n}" for n in (0, 1, 3)]
    assert bench("report", "--runs-dir", str(tmp_path / "runs"), "--out", str(tmp_path / "report")) == 0
    parts = re.findall(r"^## (.*study.*)$", (tmp_path / "report" / "report.md").read_text(), re.MULTILINE)
    assert parts == ["data, test: scratch (study generated_queries)"]
