"""What looks like pairs and is none is refused or understood, in every format alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from layouts import PASSAGES, QUERIES, WRONG, csv, jsonl, named, problems_of, read, told, tsv, write

from bench.data import DataError

Writer = Callable[[Sequence[str], Sequence[str], Sequence[str]], tuple[str, str]]


def as_tsv(queries: Sequence[str], positives: Sequence[str], negatives: Sequence[str]) -> tuple[str, str]:
    return "train.tsv", tsv(queries, positives, negatives)


def as_columns(queries: Sequence[str], positives: Sequence[str], negatives: Sequence[str]) -> tuple[str, str]:
    return "train.csv", csv(anchor=queries, positive=positives, negative=negatives)


def as_lists(queries: Sequence[str], positives: Sequence[str], negatives: Sequence[str]) -> tuple[str, str]:
    rows = zip(queries, positives, negatives, strict=True)
    return "train.jsonl", jsonl({"query": q, "pos": [p], "neg": [n]} for q, p, n in rows)


def as_passages(queries: Sequence[str], positives: Sequence[str], negatives: Sequence[str]) -> tuple[str, str]:
    rows = zip(queries, positives, negatives, strict=True)
    return "train.jsonl", jsonl(
        {"query": q, "positive_passages": [{"text": p}], "negative_passages": [{"text": n}]} for q, p, n in rows
    )


FORMATS: list[Writer] = [as_tsv, as_columns, as_lists, as_passages]


@pytest.mark.parametrize("written", FORMATS)
@pytest.mark.parametrize(
    "values", [["0", "1"], ["0.25", "3.5", "1e-3"], ["neutral", "entailment"], ["good", "bad"]], ids=str
)
def test_labels_are_no_negatives(tmp_path: Path, written: Writer, values: list[str]) -> None:
    name, content = written(QUERIES, PASSAGES, (values * 40)[:40])
    with pytest.raises(DataError, match=r"labels or scores, no passages.*data\.columns=") as caught:
        read(write(tmp_path, {name: content, "corpus.tsv": tsv(PASSAGES)}))
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize("written", FORMATS)
def test_a_few_short_passages_that_are_answers_too_are_no_labels(tmp_path: Path, written: Writer) -> None:
    positives, negatives = (["yes it is", "no"] * 40)[:40], (["no", "yes it is"] * 40)[:40]
    name, content = written(QUERIES, positives, negatives)
    assert read(write(tmp_path, {name: content})).counts["train_negatives"] == 40


@pytest.mark.parametrize("written", FORMATS)
def test_a_negative_that_is_its_querys_positive_follows_one_rule(tmp_path: Path, written: Writer) -> None:
    name, content = written(QUERIES, PASSAGES, PASSAGES)
    place = write(tmp_path / "all", {name: content})
    assert [kind for *_, kind in problems_of(place)] == ["most negatives of train are positives of their own query"]
    data = read(place, skip_broken=True)
    assert data.splits["train"].negatives is None
    assert told(data, "negatives of train that are positives of their query, left out") == 40

    name, content = written(QUERIES, PASSAGES, [PASSAGES[0], *WRONG[1:]])
    data = read(write(tmp_path / "one", {name: content}))
    assert named(data, "train", "negatives") == [
        (q, [] if i == 0 else [n]) for i, (q, n) in enumerate(zip(QUERIES, WRONG, strict=True))
    ]
    assert told(data, "negatives of train that are positives of their query, left out") == 1


def test_a_negative_that_another_line_calls_positive_is_none(tmp_path: Path) -> None:
    data = read(write(tmp_path, {"train.tsv": "q\ta\tb\nq\tc\ta\nr\tb\td\nr\te\tf\n"}))
    assert named(data, "train", "negatives") == [("q", ["b"]), ("r", ["d", "f"])]


@pytest.mark.parametrize(
    "header", ["query\ttitle\tneg_title", "Anchor\tPositive\tNegative_1", "question\tanswer\tnegative"]
)
def test_a_line_of_names_is_a_header(tmp_path: Path, header: str) -> None:
    rows = tsv(QUERIES, PASSAGES, WRONG)
    plain = read(write(tmp_path / "plain", {"train.tsv": rows}))
    data = read(write(tmp_path / "named", {"train.tsv": f"{header}\n{rows}"}))
    assert data.fingerprint == plain.fingerprint
    assert told(data, "train.tsv has a header") == 1


def test_a_header_says_the_order_of_columns(tmp_path: Path) -> None:
    rows = tsv(WRONG, PASSAGES, QUERIES)
    data = read(
        write(tmp_path, {"train.tsv": f"negative\tpositive\tquery\n{rows}", "corpus.tsv": f"text\n{tsv(PASSAGES)}"})
    )
    assert named(data, "train") == [(q, [p]) for q, p in zip(QUERIES, PASSAGES, strict=True)]
    assert list(data.passages[: data.corpus_size]) == PASSAGES


def test_a_line_that_may_be_a_header_is_told(tmp_path: Path) -> None:
    data = read(write(tmp_path, {"train.tsv": f"Frage\tAntwort\n{tsv(QUERIES, PASSAGES)}"}))
    assert told(data, "may be a header with names that are not known, and was read as a pair") == 1
    assert not told(read(write(tmp_path / "b", {"train.tsv": tsv(QUERIES, PASSAGES)})), "header")


def test_a_label_column_becomes_one_by_a_header_or_a_setting(tmp_path: Path) -> None:
    rows = tsv(QUERIES * 2, PASSAGES + WRONG, [1] * 40 + [0] * 40)
    by_header = read(write(tmp_path / "a", {"train.tsv": f"query\ttitle\tlabel\n{rows}"}))
    files: dict[str, str | bytes] = {"train.tsv": rows, "dev.tsv": tsv(QUERIES[:9], PASSAGES[:9])}
    by_setting = read(write(tmp_path / "b", files), columns="query:1,positive:2,label:3")
    for data in (by_header, by_setting):
        assert named(data, "train") == [(q, [p]) for q, p in zip(QUERIES, PASSAGES, strict=True)]
        assert named(data, "train", "negatives") == [(q, [n]) for q, n in zip(QUERIES, WRONG, strict=True)]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (tsv(range(40), QUERIES, PASSAGES), "queries of train are numbers"),
        (tsv(range(5), QUERIES[:5], PASSAGES[:5]), "queries of train are numbers"),
        (tsv([0, 1] * 20, QUERIES, PASSAGES), "queries of train are numbers"),
        (tsv(QUERIES, [0, 1] * 20), "positives of train are labels or scores"),
    ],
)
def test_ids_and_scores_are_no_texts(tmp_path: Path, rows: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read(write(tmp_path, {"train.tsv": rows}))


def test_words_with_digits_may_be_ids_and_are_told(tmp_path: Path) -> None:
    data = read(write(tmp_path, {"train.tsv": tsv([f"q{i}" for i in range(40)], [f"d-{i:04x}0" for i in range(40)])}))
    told = [what for what in data.notices if "may be ids" in what]
    assert told == [
        "the queries of train may be ids, no texts: q0, q1, q2 ...",
        "the positives of train may be ids, no texts: d-00000, d-00010, d-00020 ...",
    ]
    plain = read(write(tmp_path / "plain", {"train.tsv": tsv(QUERIES, PASSAGES)}))
    assert not [what for what in plain.notices if "may be ids" in what]


def test_a_corpus_of_ids_and_texts_is_one_problem_with_a_way_on(tmp_path: Path) -> None:
    rows = tsv([f"d{i}" for i in range(40)], PASSAGES)
    place = write(
        tmp_path, {"train.tsv": tsv(QUERIES, PASSAGES), "dev.tsv": tsv(QUERIES, PASSAGES), "corpus.tsv": rows}
    )
    assert [name for name, *_ in problems_of(place)] == ["corpus.tsv"]
    assert list(read(place, columns="passage:2").passages) == PASSAGES


@pytest.mark.parametrize("quoting", [0, 1])
def test_quoted_fields_are_read_without_their_marks(tmp_path: Path, quoting: int) -> None:
    passages = [f'{p} "So it is",\tthey say.' for p in PASSAGES]
    data = read(write(tmp_path, {"train.tsv": csv("\t", quoting, header=False, a=QUERIES, b=passages)}))
    assert named(data, "train") == [(q, [p]) for q, p in zip(QUERIES, passages, strict=True)]
    assert told(data, "quotation marks as csv writers set them") == 1
