"""The files of a directory: each is read, or named as not read, and nothing that should be a split counts as absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from layouts import PASSAGES, QUERIES, csv, jsonl, problems_of, read, told, tsv, write

from bench.data import DataConfig, load
from bench.data.splits import ALIASES, SPLIT_OF
from bench.errors import UserError

TRAIN, DEV = tsv(QUERIES[:30], PASSAGES[:30]), tsv(QUERIES[30:], PASSAGES[30:])
BASE: dict[str, str | bytes] = {"train.tsv": TRAIN, "corpus.tsv": tsv(PASSAGES)}


@pytest.mark.parametrize("alias", [alias for alias, split in SPLIT_OF.items() if split != "train"])
def test_a_split_has_the_same_names_in_every_format(tmp_path: Path, alias: str) -> None:
    rows = [{"query": q, "pos": [p]} for q, p in zip(QUERIES, PASSAGES, strict=True)]
    layouts: list[dict[str, str | bytes]] = [
        {**BASE, f"{alias}.tsv": DEV},
        {**BASE, f"{alias.upper()}.CSV": csv(question=QUERIES[30:], answer=PASSAGES[30:])},
        {"train.jsonl": jsonl(rows[:30]), f"{alias}.jsonl": jsonl(rows[30:])},
        {
            "corpus.jsonl": jsonl({"_id": f"d{i}", "text": p} for i, p in enumerate(PASSAGES)),
            "queries.jsonl": jsonl({"_id": f"q{i}", "text": q} for i, q in enumerate(QUERIES)),
            "qrels/train.tsv": "".join(f"q{i}\td{i}\t1\n" for i in range(30)),
            f"qrels/{alias}.tsv": "".join(f"q{i}\td{i}\t1\n" for i in range(30, 40)),
        },
    ]
    for number, files in enumerate(layouts):
        data = read(write(tmp_path / str(number), files))
        assert {name: len(split) for name, split in data.splits.items()} == {"train": 30, SPLIT_OF[alias]: 10}


def test_two_names_of_one_split_are_not_guessed_between(tmp_path: Path) -> None:
    assert {"validation", "valid", "val"} <= set(ALIASES["dev"])
    with pytest.raises(UserError, match=r"dev\.tsv and validation\.tsv both exist"):
        read(write(tmp_path, {**BASE, "dev.tsv": DEV, "validation.tsv": DEV}))


def dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("name", "make", "words"),
    [
        ("test.tsv", dangling, "link to a file that does not exist"),
        ("test.tsv", Path.mkdir, "is a directory"),
        ("test", Path.mkdir, "is a directory"),
        ("validation", dangling, "link to a file that does not exist"),
        ("test.tsv", pipe, "no regular file"),
        ("test.xlsx", Path.touch, "no known kind"),
        ("test.tsv", Path.touch, "empty file"),
        ("corpus.jsonl", Path.mkdir, "both exist"),
    ],
)
def test_a_split_that_cannot_be_read_is_never_absent(tmp_path: Path, name: str, make: object, words: str) -> None:
    write(tmp_path, {**BASE, **({} if name == "validation" else {"dev.tsv": DEV})})
    make(tmp_path / name)  # type: ignore[operator]
    with pytest.raises(UserError, match=words):
        read(tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("test.tsv", "\n \n\n"),
        ("test.jsonl", "\n\n"),
        ("test.csv", "query,positive\n"),
        ("test.tsv", " \tof nobody\n"),
        ("test.tsv", "a question\tof no corpus\n"),
        ("test.json", "[]"),
        ("test.csv", "query,positive,label\na,b,0\n"),
    ],
)
def test_a_split_without_a_pair_is_never_absent(tmp_path: Path, name: str, content: str) -> None:
    place = write(tmp_path, {**BASE, "dev.tsv": DEV, name: content})
    for skip in (False, True):
        assert {file for file, *_ in problems_of(place, skip_broken=skip)} == {name}


def test_judgments_that_cannot_be_read_are_never_absent(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"corpus.jsonl": jsonl([{"_id": "d", "text": "a"}]), "queries.jsonl": jsonl([{"_id": "q", "text": "b"}])},
    )
    write(tmp_path, {"qrels/dev.tsv": "q\td\t1\n"})
    dangling(tmp_path / "qrels" / "test.tsv")
    assert problems_of(tmp_path) == [("test.tsv", 0, "is a link to a file that does not exist")]


def test_what_is_not_read_is_named_but_for_what_says_nothing(tmp_path: Path) -> None:
    silent: dict[str, str | bytes] = {".gitattributes": "x", "README.md": "x", "LICENSE": "x", "notes.md": "x"}
    data = read(write(tmp_path, {**BASE, "dev.tsv": DEV, **silent}))
    assert not data.notices
    write(tmp_path, {"test_data.bin": b"x", "sub/train.tsv": TRAIN, "corpus.v2.jsonl": "{}"})
    data = read(tmp_path)
    assert data.notices == {"files not read: corpus.v2.jsonl, sub/, test_data.bin": 3}
    assert data.fingerprint == read(tmp_path).fingerprint


def test_a_file_that_is_no_part_is_left_out_and_a_part_with_a_wrong_line_is_a_problem(tmp_path: Path) -> None:
    write(tmp_path, {**BASE, "dev.tsv": DEV, "dev_hard.tsv": tsv(QUERIES[35:], PASSAGES[35:])})
    data = read(write(tmp_path, {"dev_keywords.tsv": "word\tanother\n" * 1989, "dev_notes.txt": "a\nb\n"}))
    assert list(data.parts) == ["dev_hard"] and len(data.parts["dev_hard"][1]) == 5
    assert told(data, "files not read: dev_keywords.tsv, whose lines are no pairs of dev") == 1
    assert told(data, "files not read: dev_notes.txt") == 1
    write(tmp_path, {"dev_hard.tsv": tsv(QUERIES[35:], PASSAGES[35:]) + "another\tpair\n"})
    assert problems_of(tmp_path) == [("dev_hard.tsv", 6, "line is no pair of dev")]


def test_two_files_that_may_be_one_part_are_not_guessed_between(tmp_path: Path) -> None:
    part = tsv(QUERIES[35:], PASSAGES[35:])
    with pytest.raises(UserError, match=r"dev_hard\.tsv and val_hard\.tsv both exist"):
        read(write(tmp_path, {**BASE, "dev.tsv": DEV, "dev_hard.tsv": part, "val_hard.tsv": part}))


def test_files_in_shards_are_one_split(tmp_path: Path) -> None:
    rows = [{"query": q, "pos": [p]} for q, p in zip(QUERIES, PASSAGES, strict=True)]
    shards: dict[str, str | bytes] = {
        "data/train-00000-of-00002.jsonl": jsonl(rows[:15]),
        "data/train-00001-of-00002.jsonl": jsonl(rows[15:]),
    }
    data = read(write(tmp_path, shards))
    assert [data.queries[q] for q in data.splits["train"].queries] == QUERIES


def test_paddlenlps_ranking_set_is_read(tmp_path: Path) -> None:
    labelled = csv("\t", query=QUERIES[30:] * 2, title=PASSAGES[30:] + PASSAGES[:10], label=[1] * 10 + [0] * 10)
    train = csv("\t", query=QUERIES[:30], title=PASSAGES[:30], neg_title=PASSAGES[1:31])
    data = read(write(tmp_path, {"train_pairwise.csv": train, "dev_pairwise.csv": labelled, "test.csv": labelled}))
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 30, "dev": 10, "test": 10}
    negatives = data.splits["dev"].negatives
    assert negatives is not None and [data.passages[p] for p in negatives.values] == PASSAGES[:10]


def test_one_file_is_cut_by_a_hash_of_the_query_and_that_is_told(tmp_path: Path) -> None:
    place = write(tmp_path, {"sheet.csv": csv(query=QUERIES, positive=PASSAGES)})
    one, alone = read(place / "sheet.csv"), read(place)
    assert one.fingerprint == alone.fingerprint
    assert {name: len(split) for name, split in one.splits.items()} == {"train": 36, "dev": 2, "test": 2}
    assert told(one, "queries of train that became") == 4
    backwards = read(write(tmp_path / "b", {"sheet.csv": csv(query=QUERIES[::-1], positive=PASSAGES[::-1])}))
    for split in one.splits:
        of = [{data.queries[q] for q in data.splits[split].queries} for data in (one, backwards)]
        assert of[0] == of[1]


@pytest.mark.parametrize(("queries", "cut"), [(2, 0), (19, 0), (20, 2)])
def test_a_file_of_fewer_than_20_queries_is_not_cut_and_that_is_told(tmp_path: Path, queries: int, cut: int) -> None:
    pairs = {"query": QUERIES[:queries], "positive": PASSAGES[:queries]}
    data = read(write(tmp_path, {"sheet.csv": csv(**pairs)}) / "sheet.csv")
    assert sum(len(data.splits[name]) for name in ("dev", "test") if name in data.splits) == cut
    assert told(data, "too few to cut dev or test from (it takes 20)") == (0 if cut else queries)


@pytest.mark.parametrize(
    "name", ["/dev/null", "a" * 300, "", "~nobody_of_this_name/x", "hf:", "hf:" + "a" * 300, "a\0b"]
)
def test_what_is_no_place_is_one_line(name: str) -> None:
    with pytest.raises(UserError) as caught:
        load(DataConfig(name))
    assert len(str(caught.value).splitlines()) == 1 and len(str(caught.value)) < 300


def test_a_directory_that_cannot_be_listed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(UserError, match="cannot be read: Permission denied"):
        read(tmp_path)
