"""Finding data sets by name, limiting them, telling them apart, and looking into them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bench.data import DataConfig, DataSet, Ragged, Split, inspect, load, render
from bench.data.build import Builder
from bench.data.subset import subset
from bench.data.validation import Problems
from bench.errors import UserError

PLACE = (Path("made"), 1)


def made(
    corpus: int, train: Iterable[tuple[int, int]], dev: Iterable[tuple[int, int]], negatives: Iterable[tuple[int, int]]
) -> DataSet:
    """A data set of the passages p0, p1, ...; train may name passages past the corpus."""
    builder = Builder("made", Problems())
    for i in range(corpus):
        builder.corpus(f"p{i}")
    train = list(train)
    for q, p in train:
        builder.pair("train", f"t{q}", f"p{p}", PLACE, score=q + p / 100)
    of = [(train[q % len(train)][0], p) for q, p in negatives]
    for q, p in (pair for pair in of if pair not in train):
        builder.negative("train", f"t{q}", f"p{p}", PLACE, score=q - p / 100)
    for q, p in dev:
        builder.pair("dev", f"d{q}", f"p{p % corpus}", PLACE, grade=1 + p)
    return builder.build(Path("made"))


def rows(data: DataSet, split: str, which: str, scores: str) -> list[tuple[str, str, float]]:
    """Every (query, passage, number) of a relation, in order."""
    part = data.splits[split]
    relation, numbers = getattr(part, which), getattr(part, scores)
    if relation is None:
        return []
    named = [(data.queries[q], data.passages[p]) for row, q in enumerate(part.queries) for p in relation[row]]
    return [(q, p, float(number)) for (q, p), number in zip(named, numbers, strict=True)]


pair_lists = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 24)), min_size=1, max_size=20, unique=True)


@settings(derandomize=True, deadline=None)
@given(
    corpus=st.integers(1, 20),
    train=pair_lists,
    dev=pair_lists,
    negatives=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 29)), max_size=10),
    max_train=st.none() | st.integers(1, 25),
    max_corpus=st.none() | st.integers(1, 25),
)
@example(18, [(0, 0)], [(0, 0)], [(0, 17)], None, 17)  # a negative leaves the corpus and stays a passage
def test_limits_keep_what_they_promise(
    corpus: int,
    train: list[tuple[int, int]],
    dev: list[tuple[int, int]],
    negatives: list[tuple[int, int]],
    max_train: int | None,
    max_corpus: int | None,
) -> None:
    full = made(corpus, train, dev, negatives)
    pairs = rows(full, "train", "relevant", "positive_scores")[:max_train]
    kept_queries = {query for query, _, _ in pairs}
    searched = full.passages[: full.corpus_size]
    positives = {p for _, p, _ in [*pairs, *rows(full, "dev", "relevant", "grades")] if p in searched}
    if max_corpus is not None and max_corpus < min(len(positives), len(searched)):
        with pytest.raises(UserError, match=r"max_corpus.*raise it, or lower data\.max_train"):
            subset(full, max_train, max_corpus)
        return
    small = subset(full, max_train, max_corpus)

    assert rows(small, "train", "relevant", "positive_scores") == pairs
    assert rows(small, "train", "negatives", "negative_scores") == [
        row for row in rows(full, "train", "negatives", "negative_scores") if row[0] in kept_queries
    ]
    assert rows(small, "dev", "relevant", "grades") == rows(full, "dev", "relevant", "grades")
    left = small.passages[: small.corpus_size]
    assert len(left) == min(len(searched), max_corpus or len(searched))
    assert positives <= set(left)
    others = [p for p in searched if p not in positives]
    assert [p for p in left if p not in positives] == others[: len(left) - len(positives)]
    assert sorted(left, key=searched.index) == list(left)
    assert len(set(small.passages)) == len(small.passages)
    changed = len(left) < len(searched) or len(pairs) < len(train)
    assert changed == (small.fingerprint != full.fingerprint)
    assert subset(full, max_train, max_corpus).fingerprint == small.fingerprint


def test_a_limited_part_keeps_to_the_rows_that_are_left(tmp_path: Path) -> None:
    (tmp_path / "corpus.tsv").write_text("a\nb\nc\n")
    (tmp_path / "train.tsv").write_text("q\ta\nr\tb\ns\tc\n")
    (tmp_path / "train_hard.tsv").write_text("s\tc\nq\ta\n")
    data = load(DataConfig(str(tmp_path), max_train=2))
    split, members = data.parts["train_hard"]
    assert [data.queries[data.splits[split].queries[row]] for row in members] == ["q"]


@pytest.mark.parametrize("limit", [{"max_train": 0}, {"max_corpus": -1}])
def test_limits_are_positive(limit: dict[str, int]) -> None:
    with pytest.raises(UserError, match=f"data.{next(iter(limit))}"):
        subset(made(2, [(0, 0)], [(0, 1)], []), **limit)


def test_every_change_of_content_changes_the_fingerprint() -> None:
    def of(
        *, name: str = "x", query: str = "q", extra: str = "", grade: float | None = None, split: str = "dev"
    ) -> str:
        builder = Builder(name, Problems())
        for text in ("a", "b", *filter(None, [extra])):
            builder.corpus(text)
        builder.pair(split, query, "a", PLACE, grade=grade)
        return builder.build(Path("x")).fingerprint

    assert of() == of(name="another name")
    changes = [of(query="r"), of(extra="c"), of(grade=1), of(grade=2), of(split="test")]
    assert len({of(), *changes}) == 1 + len(changes)


def test_texts_do_not_run_into_each_other_in_the_fingerprint() -> None:
    def of(*corpus: str) -> str:
        builder = Builder("x", Problems())
        for text in corpus:
            builder.corpus(text)
        builder.pair("dev", "q", corpus[0], PLACE)
        return builder.build(Path("x")).fingerprint

    assert of("a", "bc", "d") != of("a", "b", "cd")


def test_layouts_are_told_by_their_files(tmp_path: Path) -> None:
    line = json.dumps({"query": "q", "pos": ["a"], "neg": ["b"]}) + "\n"
    (tmp_path / "one.jsonl").write_text(line)
    (tmp_path / "flag").mkdir()
    (tmp_path / "flag" / "train.jsonl").write_text(line)
    (tmp_path / "paddle" / "recall").mkdir(parents=True)
    (tmp_path / "paddle" / "recall" / "corpus.csv").write_text("a\n")
    (tmp_path / "paddle" / "recall" / "train.csv").write_text("q\ta\n")
    (tmp_path / "beir" / "qrels").mkdir(parents=True)
    (tmp_path / "beir" / "corpus.jsonl").write_text('{"_id": "1", "title": "", "text": "a"}\n')
    (tmp_path / "beir" / "queries.jsonl").write_text('{"_id": "1", "text": "q"}\n')
    (tmp_path / "beir" / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n1\t1\t1\n")
    found = {name: inspect(tmp_path / name).format for name in ("one.jsonl", "flag", "beir", "paddle/recall")}
    assert found == {
        "one.jsonl": "rows of pairs",
        "flag": "rows of pairs",
        "beir": "BEIR or TREC",
        "paddle/recall": "rows of pairs",
    }
    data = load(DataConfig("literature_search", path=str(tmp_path / "paddle")))
    assert (data.name, data.counts["train_pairs"]) == ("literature_search", 1)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (DataConfig("docstring"), "did you mean 'docstrings'"),
        (DataConfig("docstrings", path="/x"), "reads no directory"),
        (DataConfig("literature_search"), "needs data.path"),
        (DataConfig("literature_search", path="/no/such"), "no directory"),
        (DataConfig("hf:owner/name", path="/x"), "data.path=/x is for a preset"),
        (DataConfig("/no/such/place"), "no directory, file or preset"),
    ],
)
def test_what_cannot_be_found_is_told(config: DataConfig, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(config)


def test_an_unknown_layout_names_what_was_looked_for_and_found(tmp_path: Path) -> None:
    (tmp_path / "data.xml").touch()
    with pytest.raises(UserError, match=r"(?s)queries\.jsonl.*train\.tsv.*train\.jsonl.*found: data\.xml"):
        load(DataConfig(str(tmp_path)))


def test_an_inspection_counts_what_is_odd(tmp_path: Path) -> None:
    (tmp_path / "corpus.tsv").write_text("a\nb\nb\nq\n")
    (tmp_path / "train.tsv").write_text("q\ta\nq\tb\nr\tnowhere\n")
    (tmp_path / "dev.tsv").write_text("q\tq\ns\ta\n")
    inspection = inspect(tmp_path)
    assert inspection.ok
    assert {what: number for what, number in inspection.findings if number} == {
        "corpus lines joined with an equal one": 1,
        "passages outside the corpus: trained on, not searched": 1,
        "train queries with several positives": 1,
        "dev queries equal to a positive of theirs": 1,
        "queries both in train and in dev": 1,
        "passages positive both in train and in dev": 1,
    }
    assert (inspection.lengths["passages"].mean, inspection.lengths["passages"].max) == (10 / 4, 7)
    assert inspection.fingerprint in render(inspection)


def test_an_inspection_of_broken_data_shows_its_problems_in_a_hundred_columns(tmp_path: Path) -> None:
    (tmp_path / "corpus.tsv").write_text("a\n")
    (tmp_path / "dev.tsv").write_text("q\ta\n\nr\t" + "long " * 50 + "\n \ta\n")
    inspection = inspect(tmp_path)
    shown = render(inspection)
    assert not inspection.ok
    assert [(p.line, p.kind) for p in inspection.problems] == [
        (4, "empty field"),
        (3, "dev positive missing from the corpus"),
    ]
    assert "dev.tsv:4: empty field" in shown
    assert max(map(len, shown.splitlines())) <= 100


def test_importing_the_room_imports_no_heavy_library() -> None:
    heavy = "torch", "transformers", "tokenizers", "datasets", "pandas"
    code = f"import sys, bench.data; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_ragged_rows_are_what_went_in() -> None:
    lists = [[3, 1], [], [2], []]
    ragged = Ragged.of(lists)
    assert [row.tolist() for row in ragged] == lists
    assert [row.tolist() for row in ragged.take(np.array([2, 0, 0, 1]))] == [lists[i] for i in (2, 0, 0, 1)]
    assert len(Split(np.arange(4), ragged)) == 4
