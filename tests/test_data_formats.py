"""BEIR, FlagEmbedding and hub data: every relation and number is kept, everything broken is told."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.data import DataConfig, DataError, DataSet, load
from bench.data.formats import beir, flagembedding, hub
from bench.errors import UserError


def write_jsonl(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def kinds(read: Callable[[Path], DataSet], path: Path) -> list[tuple[str, int, str]]:
    """(file name, line, kind) of every problem, in order."""
    with pytest.raises(DataError) as caught:
        read(path)
    return [(problem.path.name, problem.line, problem.kind) for problem in caught.value.problems]


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
    write_jsonl(tmp_path / "corpus.jsonl", corpus)
    queries = [{"_id": f"q{i}", "text": text} for i, text in enumerate(["cat", "dog", "fish", "unused", "cat"])]
    write_jsonl(tmp_path / "queries.jsonl", queries)
    (tmp_path / "qrels").mkdir()
    header = "query-id\tcorpus-id\tscore\n"
    (tmp_path / "qrels" / "test.tsv").write_text(
        header + "q0\td1\t2\nq0\td2\t0\nq1\td2\t1\nq2\td3\t1\nq2\td4\t3\nq4\td1\t1\nq4\td2\t1\n"
    )
    return tmp_path


def test_beir_keeps_titles_grades_and_only_what_is_relevant(beir_folder: Path) -> None:
    data = beir.read(beir_folder)
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
        file.write('{"_id": "d1", "text": "again"}\n{"_id": "d5"}\nnot json\n[1]\n{"_id": "d6", "text": " "}\n')
    with (beir_folder / "qrels" / "test.tsv").open("a") as file:
        file.write("q9\td1\t1\nq1\td9\t1\nq1\td1\tmany\nq1\td2\t1\n")
    (beir_folder / "qrels" / "dev.tsv").write_text("q0\td1\t1\n")
    assert kinds(beir.read, beir_folder) == [
        ("corpus.jsonl", 5, "repeated _id"),
        ("corpus.jsonl", 6, "'_id' (a text) or 'text' is missing"),
        ("corpus.jsonl", 7, "not JSON"),
        ("corpus.jsonl", 8, "not a JSON object"),
        ("corpus.jsonl", 9, "title and text hold no text"),
        ("dev.tsv", 1, "header is not query-id TAB corpus-id TAB score"),
        ("dev.tsv", 0, "no pair with a score over 0"),
        ("test.tsv", 11, "score is no number"),
        ("test.tsv", 12, "repeated pair"),
        ("test.tsv", 9, "query id that queries.jsonl does not have"),
        ("test.tsv", 10, "corpus id that corpus.jsonl does not have"),
    ]


FLAG = [
    {"query": "q", "pos": ["a", "b"], "neg": ["c", "d", "c"], "pos_scores": [1, 0.5], "neg_scores": [0.25, 0, 9]},
    {"query": "r", "pos": ["c"], "neg": ["a"], "pos_scores": [0.75], "neg_scores": [0.125], "prompt": "x"},
    {"query": "s", "pos": ["d"], "neg": [], "pos_scores": [2]},
]


def test_flagembedding_keeps_negatives_and_the_teachers_scores(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    write_jsonl(path, FLAG)
    data = flagembedding.read(path)
    train = data.splits["train"]
    assert train.negatives is not None
    named = [
        (
            data.queries[q],
            [data.passages[p] for p in train.relevant[row]],
            [data.passages[p] for p in train.negatives[row]],
        )
        for row, q in enumerate(train.queries)
    ]
    assert named == [("q", ["a", "b"], ["c", "d"]), ("r", ["c"], ["a"]), ("s", ["d"], [])]
    assert train.positive_scores is not None and train.positive_scores.tolist() == [1, 0.5, 0.75, 2]
    assert train.negative_scores is not None and train.negative_scores.tolist() == [0.25, 0, 0.125]
    assert data.corpus_size == len(set("abcd")) == len(data.passages)


def test_flagembedding_with_a_corpus_of_its_own(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "corpus.jsonl", [{"text": "a"}, {"text": "z"}, {"text": "a"}])
    write_jsonl(tmp_path / "train.jsonl", FLAG)
    write_jsonl(tmp_path / "dev.jsonl", [{"query": "t", "pos": ["z"]}])
    data = flagembedding.read(tmp_path)
    assert data.passages[: data.corpus_size] == ("a", "z")
    assert set(data.passages) == set("azbcd")
    write_jsonl(tmp_path / "dev.jsonl", [{"query": "t", "pos": ["b"]}])
    assert kinds(flagembedding.read, tmp_path) == [("dev.jsonl", 1, "dev positive missing from the corpus")]


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ({"pos": ["a"]}, "'query' is missing or no text"),
        ({"query": "\ud800", "pos": ["a"]}, "'query' is missing or no text"),
        ({"query": "q"}, "'pos' is missing or empty"),
        ({"query": "q", "pos": "a"}, "'pos' is no list of texts"),
        ({"query": "q", "pos": ["a"], "neg": [""]}, "'neg' is no list of texts"),
        ({"query": "q", "pos": ["a"], "pos_scores": [1, 2]}, "'pos_scores' and 'pos' differ in length"),
        ({"query": "q", "pos": ["a"], "pos_scores": [None]}, "'pos_scores' is no list of numbers"),
        ({"query": "q", "pos": ["a"], "neg": ["a"]}, "a text is both in 'pos' and in 'neg'"),
        ({"query": "q", "pos": ["a"], "pos_scores": [1]}, "'pos_scores' on some lines only"),
        ({"query": "first", "pos": ["a"]}, "repeated pair"),
    ],
)
def test_flagembedding_problems(tmp_path: Path, row: dict[str, Any], kind: str) -> None:
    path = tmp_path / "train.jsonl"
    write_jsonl(path, [{"query": "first", "pos": ["a"]}, row])
    assert kinds(flagembedding.read, path) == [("train.jsonl", 2, kind)]


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
    data = hub.read(parquet(train=columns, validation=columns, test=columns))
    assert list(data.splits) == ["train", "dev", "test"]
    assert data.queries == ("q", "r")
    assert set(data.passages) == set("abc")
    negatives = data.splits["train"].negatives
    assert negatives is not None
    assert [data.passages[p] for p in negatives.values] == ["b", "c"]


def test_hub_holds_out_queries_for_missing_splits(parquet: Callable[..., str]) -> None:
    queries = [f"query {i % 200}" for i in range(400)]
    data = hub.read(parquet(train={"left": queries, "right": [f"passage {i}" for i in range(400)]}))
    of = {name: set(split.queries.tolist()) for name, split in data.splits.items()}
    assert {name: len(ids) for name, ids in of.items()} == {"train": 180, "dev": 10, "test": 10}
    assert len(of["train"] | of["dev"] | of["test"]) == 200
    assert sum(len(split.relevant.values) for split in data.splits.values()) == 400


def test_held_out_queries_do_not_depend_on_the_order_of_rows() -> None:
    rows = [hub.Row((Path("x"), i), f"query {i}", "p", None) for i in range(100)]
    one, other = hub.hold_out({"train": rows}), hub.hold_out({"train": rows[::-1]})
    for split in ("train", "dev", "test"):
        assert {row.query for row in one[split]} == {row.query for row in other[split]}


def test_hub_problems(parquet: Callable[..., str]) -> None:
    source = parquet(train={"query": ["q", None], "answer": ["", "b"]})
    with pytest.raises(DataError) as caught:
        hub.read(source)
    assert [(p.line, p.kind) for p in caught.value.problems] == [
        (1, "no text in the column 'answer'"),
        (2, "no text in the column 'query'"),
    ]


def test_hub_does_not_take_labelled_pairs_for_positive_ones(parquet: Callable[..., str]) -> None:
    source = parquet(train={"sentence1": ["q"], "sentence2": ["a"], "label": [0]})
    with pytest.raises(UserError, match="'label'"):
        hub.read(source)


def test_hub_says_what_to_do_without_the_package_or_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r'pip install -e "\.\[hub\]"'):
        hub.read("hf:owner/name")

    class Unreachable:
        @staticmethod
        def load_dataset(name: str, config: str | None) -> None:
            raise ConnectionError(f"no route to {name}")

    monkeypatch.setitem(sys.modules, "datasets", Unreachable)
    with pytest.raises(UserError, match=r"no route to owner/name[^\n]*hf:DIRECTORY"):
        hub.read("hf:owner/name")


def test_files_of_two_formats_in_one_directory_are_refused(tmp_path: Path) -> None:
    (tmp_path / "corpus.tsv").write_text("a\nb\n")
    write_jsonl(tmp_path / "train.jsonl", [{"query": "q", "pos": ["a"]}])
    with pytest.raises(UserError, match=r"more than one format \(FlagEmbedding and TAB-separated\)"):
        load(DataConfig(str(tmp_path)))
