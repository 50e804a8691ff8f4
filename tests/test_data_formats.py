"""BEIR, FlagEmbedding and hub data: every relation and number is kept, everything broken is told."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from layouts import jsonl, named, problems_of, read, told, write

from bench.data import DataError, DataSet
from bench.data.formats import hub
from bench.data.formats.base import Reading
from bench.data.rows import Entry, hold_out
from bench.errors import UserError


def graded(data: DataSet, split: str) -> dict[tuple[str, str], float]:
    part = data.splits[split]
    assert part.grades is not None
    return {
        (data.queries[q], data.passages[p]): float(part.grades[part.relevant.offsets[row] + i])
        for row, q in enumerate(part.queries)
        for i, p in enumerate(part.relevant[row])
    }


@pytest.fixture
def beir_folder(tmp_path: Path) -> Path:
    corpus = [
        {"_id": "d1", "title": "Cats", "text": "purr"},
        {"_id": "d2", "title": "", "text": "dogs bark"},
        {"_id": "d3", "text": "fish"},
        {"_id": "d4", "title": "", "text": "fish"},
    ]
    write(tmp_path, {"corpus.jsonl": jsonl(corpus)})
    queries = [{"_id": f"q{i}", "text": text} for i, text in enumerate(["cat", "dog", "fish", "unused", "cat"])]
    write(tmp_path, {"queries.jsonl": jsonl(queries)})
    (tmp_path / "qrels").mkdir()
    header = "query-id\tcorpus-id\tscore\n"
    (tmp_path / "qrels" / "test.tsv").write_text(
        header + "q0\td1\t2\nq0\td2\t0\nq1\td2\t1\nq2\td3\t1\nq2\td4\t3\nq4\td1\t1\nq4\td2\t1\n"
    )
    return tmp_path


def test_beir_keeps_titles_grades_and_only_what_is_relevant(beir_folder: Path) -> None:
    data = read(beir_folder)
    assert data.passages == ("Cats purr", "dogs bark", "fish")
    assert graded(data, "test") == {
        ("cat", "Cats purr"): 2,
        ("cat", "dogs bark"): 1,  # the two queries with the text "cat" are one
        ("dog", "dogs bark"): 1,
        ("fish", "fish"): 3,  # d3 and d4 are one passage
    }
    assert "unused" not in data.queries
    assert data.joined == 1


def test_beir_problems(beir_folder: Path) -> None:
    with (beir_folder / "corpus.jsonl").open("a") as file:
        file.write('{"_id": "d1", "text": "again"}\n{"title": "x"}\nnot json\n[1]\n{"_id": "d6", "text": 5}\n')
    assert problems_of(beir_folder) == [
        ("corpus.jsonl", 7, "not JSON"),
        ("corpus.jsonl", 8, "not a JSON object"),
        ("corpus.jsonl", 5, "repeated id with another text"),
        ("corpus.jsonl", 6, "'_id' is missing or no id"),
        ("corpus.jsonl", 9, "title and text hold no text"),
    ]


def test_problems_of_judgments(beir_folder: Path) -> None:
    with (beir_folder / "qrels" / "test.tsv").open("a") as file:
        file.write("q9\td1\t1\nq1\td9\t1\nq1\td1\tmany\nq1\td8\t0\n")
    (beir_folder / "qrels" / "dev.tsv").write_text("q0\td1\t0\n")
    assert problems_of(beir_folder) == [
        ("dev.tsv", 0, "no row of dev is a pair that can be used"),
        ("test.tsv", 9, "judgment of a query id that is missing"),
        ("test.tsv", 10, "judgment of a passage id that is missing"),
        ("test.tsv", 11, "score is no number"),
    ]


def test_a_pair_that_is_judged_twice_has_its_highest_grade(beir_folder: Path) -> None:
    with (beir_folder / "qrels" / "test.tsv").open("a") as file:
        file.write("q0\td1\t1\nq1\td1\t0\n")
    data = read(beir_folder)
    assert graded(data, "test")["cat", "Cats purr"] == 2
    assert told(data, "judged twice") == 1


FLAG = [
    {"query": "q", "pos": ["a", "b"], "neg": ["c", "d", "c"], "pos_scores": [1, 0.5], "neg_scores": [0.25, 0, 9]},
    {"query": "r", "pos": ["c"], "neg": ["a"], "pos_scores": [0.75], "neg_scores": [0.125], "prompt": "x"},
    {"query": "s", "pos": ["d"], "neg": [], "pos_scores": [2]},
]


def test_flagembedding_keeps_negatives_and_the_teachers_scores(tmp_path: Path) -> None:
    write(tmp_path, {"set.jsonl": jsonl(FLAG)})
    data = read(tmp_path / "set.jsonl")
    train = data.splits["train"]
    assert named(data, "train") == [("q", ["a", "b"]), ("r", ["c"]), ("s", ["d"])]
    assert named(data, "train", "negatives") == [("q", ["c", "d"]), ("r", ["a"]), ("s", [])]
    assert train.positive_scores is not None and train.positive_scores.tolist() == [1, 0.5, 0.75, 2]
    assert train.negative_scores is not None and train.negative_scores.tolist() == [0.25, 0, 0.125]
    assert data.corpus_size == len(set("abcd")) == len(data.passages)


def test_flagembedding_with_a_corpus_of_its_own(tmp_path: Path) -> None:
    files = {"corpus.jsonl": jsonl([{"text": "a"}, {"text": "z"}, {"text": "a"}]), "train.jsonl": jsonl(FLAG)}
    write(tmp_path, files | {"dev.jsonl": jsonl([{"query": "t", "pos": ["z"]}])})
    data = read(tmp_path)
    assert data.passages[: data.corpus_size] == ("a", "z")
    assert set(data.passages) == set("azbcd")
    write(tmp_path, {"dev.jsonl": jsonl([{"query": "t", "pos": ["b"]}])})
    assert problems_of(tmp_path) == [("dev.jsonl", 1, "dev positive missing from the corpus")]


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ({"pos": ["a"]}, "no text in the column 'query'"),
        ({"query": "\ud800", "pos": ["a"]}, "no text in the column 'query'"),
        ({"query": 5, "pos": ["a"]}, "no text in the column 'query', but int"),
        ({"query": "q"}, "no text in the column 'pos'"),
        ({"query": "q", "pos": []}, "no text in the column 'pos'"),
        ({"query": "q", "pos": ["a", 5]}, "'pos' is no list of texts"),
        ({"query": "q", "pos": ["a"], "pos_scores": [1, 2]}, "'pos_scores' and 'pos' differ in length"),
        ({"query": "q", "pos": ["a"], "pos_scores": [None]}, "'pos_scores' is no list of numbers"),
        ({"query": "q", "pos": ["a"], "pos_scores": [1]}, "'pos_scores' on some lines only"),
    ],
)
def test_a_row_that_cannot_be_used_is_a_problem_or_is_left_out(tmp_path: Path, row: dict[str, Any], kind: str) -> None:
    write(tmp_path, {"train.jsonl": jsonl([{"query": "first", "pos": ["a"]}, row])})
    assert problems_of(tmp_path) == [("train.jsonl", 2, kind)]
    data = read(tmp_path, skip_broken=True)
    assert named(data, "train") == [("first", ["a"])]
    assert data.notices[f"left out (data.skip_broken): {kind}"] == 1


@pytest.fixture
def parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Writes parquet files, one a split, and gives the id that reads them."""
    datasets = pytest.importorskip("datasets", reason="the extra hub is not installed")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()

    def write(**splits: dict[str, list[Any]]) -> str:
        folder = tmp_path / "hub"
        folder.mkdir()
        for split, columns in splits.items():
            datasets.Dataset.from_dict(columns).to_parquet(folder / f"{split}.parquet")
        return f"hf:{folder}"

    return write


def test_hub_reads_triplets_by_the_names_of_columns(parquet: Callable[..., str]) -> None:
    columns = {"id": ["x", "y"], "positive": ["a", "b"], "anchor": ["q", "r"], "negative": ["b", "c"]}
    data = read(parquet(train=columns, validation=columns, test=columns))
    assert list(data.splits) == ["train", "dev", "test"]
    assert data.queries == ("q", "r")
    assert set(data.passages) == set("abc")
    negatives = data.splits["train"].negatives
    assert negatives is not None
    assert [data.passages[p] for p in negatives.values] == ["b", "c"]


def test_hub_holds_out_queries_for_missing_splits(parquet: Callable[..., str]) -> None:
    queries = [f"query {i % 200}" for i in range(400)]
    data = read(parquet(train={"anchor": queries, "positive": [f"passage {i}" for i in range(400)]}))
    of = {name: set(split.queries.tolist()) for name, split in data.splits.items()}
    assert {name: len(ids) for name, ids in of.items()} == {"train": 180, "dev": 10, "test": 10}
    assert len(of["train"] | of["dev"] | of["test"]) == 200
    assert sum(len(split.relevant.values) for split in data.splits.values()) == 400


def test_hub_does_not_guess_which_column_is_the_query(parquet: Callable[..., str]) -> None:
    source = parquet(train={"left": ["a passage"] * 3, "right": ["a query"] * 3})
    with pytest.raises(DataError, match="no column is known as the query or the positive passage"):
        hub.read(source, Reading())
    data = hub.read(source, Reading(columns={"query": ("right",), "positive": ("left",)}))
    assert named(data, "train") == [("a query", ["a passage"])]


def test_held_out_queries_do_not_depend_on_the_order_of_rows() -> None:
    rows = [Entry((Path("x"), i), f"query {i}", [("p", None)]) for i in range(100)]
    one, other = hold_out({"train": rows}), hold_out({"train": rows[::-1]})
    for split in ("train", "dev", "test"):
        assert {row.query for row in one[split]} == {row.query for row in other[split]}


def test_files_are_read_here_as_datasets_reads_them(
    parquet: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = {"anchor": [f"q {i}" for i in range(60)], "positive": [f"p {i}" for i in range(60)]}
    columns["negative_1"] = columns["positive"][7:] + columns["positive"][:7]
    source = parquet(train=columns, validation={name: cells[:5] for name, cells in columns.items()})
    by_datasets = hub.read(source, Reading())
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert read(source).fingerprint == by_datasets.fingerprint
    assert set(read(source).splits) == {"train", "dev", "test"}


def test_hub_problems(parquet: Callable[..., str]) -> None:
    source = parquet(train={"query": ["q", None], "answer": ["", "b"]})
    with pytest.raises(DataError) as caught:
        hub.read(source, Reading())
    assert [(p.line, p.kind) for p in caught.value.problems] == [
        (1, "no text in the column 'answer'"),
        (2, "no text in the column 'query'"),
    ]


def test_hub_says_what_to_do_without_the_package_or_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r'pip install -e "\.\[hub\]"'):
        read("hf:owner/name")

    class Unreachable:
        @staticmethod
        def load_dataset(name: str, config: str | None) -> None:
            raise ConnectionError(f"no route to {name}")

    monkeypatch.setitem(sys.modules, "datasets", Unreachable)
    with pytest.raises(UserError, match=r"no route to owner/name[^\n]*hf:DIRECTORY"):
        read("hf:owner/name")


def test_files_of_two_formats_in_one_directory_are_refused(beir_folder: Path) -> None:
    write(beir_folder, {"train.tsv": "q\ta\n"})
    with pytest.raises(UserError, match=r"more than one format \(BEIR or TREC and rows of pairs\)"):
        read(beir_folder)
