"""What people's files have beside the rows: joined or left out and counted, with the fingerprint of the clean set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from layouts import PASSAGES, QUERIES, WRONG, csv, jsonl, named, problems_of, read, told, tsv, write

from bench.data import DataError, inspect, render

Files = dict[str, str | bytes]


def beir(**more: str | bytes) -> Files:
    """A data set of BEIR's layout; ``test`` and others are files of ``qrels``."""
    files: Files = {
        "corpus.jsonl": jsonl({"_id": f"d{i}", "title": f"House {i}", "text": p} for i, p in enumerate(PASSAGES)),
        "queries.jsonl": jsonl({"_id": f"q{i}", "text": q, "metadata": {}} for i, q in enumerate(QUERIES)),
        "qrels/train.tsv": qrels(range(30)),
        "qrels/test.tsv": qrels(range(30, 40)),
    }
    return files | {f"qrels/{name}.tsv": content for name, content in more.items()}


def qrels(numbers: range, line: str = "q{0}\td{0}\t1\n", header: str = "query-id\tcorpus-id\tscore\n") -> str:
    return header + "".join(line.format(i) for i in numbers)


def changed(files: Mapping[str, str | bytes], name: str, content: str) -> Files:
    """The files with more lines in one."""
    before = files[name]
    assert isinstance(before, str)
    return {**files, name: before + content}


TEST, TEN = "qrels/test.tsv", range(30, 40)
CORPUS, EMPTY = "corpus.jsonl", jsonl([{"_id": "e", "title": "", "text": ""}])
AGAIN = jsonl([{"_id": "d0", "title": "House 0", "text": PASSAGES[0]}])
COMMAS = qrels(TEN, "q{0},d{0},1\n", "query-id,corpus-id,score\n")
HARMLESS: dict[str, tuple[Files, str, int]] = {
    "SciFact's CRLF": (beir(test=qrels(TEN).replace("\n", "\r\n")), "carriage returns", 11),
    "SciFact's repeated pairs": (changed(beir(), TEST, "q31\td31\t1\nq31\td31\t1\n"), "repeated pairs", 2),
    "a byte order mark": (beir(test="\ufeff" + qrels(TEN)), "byte order mark", 1),
    "trailing blank lines": (changed(beir(), TEST, "\n\n"), "blank lines", 2),
    "FiQA's empty documents": (changed(beir(), CORPUS, EMPTY), "empty passages", 1),
    "a query without a text": (
        changed(beir(), "queries.jsonl", jsonl([{"_id": "e", "text": " "}])),
        "empty queries",
        1,
    ),
    "a repeated document": (changed(beir(), CORPUS, AGAIN), "repeated ids", 1),
    "a missing document that is not relevant": (changed(beir(), TEST, "q31\tgone\t0\n"), "not relevant anyway", 1),
    "quoted ids": (
        beir(test=qrels(TEN, '"q{0}"\t"d{0}"\t1\n', '"query-id"\t"corpus-id"\t"score"\n')),
        "quotation marks",
        1,
    ),
    "some quoted ids": (beir(test=qrels(TEN, '"q{0}"\td{0}\t1\n')), "", 0),
    "commas": ({**{k: v for k, v in beir().items() if k != TEST}, "qrels/test.csv": COMMAS}, "", 0),
    "no header": (beir(test=qrels(TEN, header="")), "", 0),
    "another header": (beir(test=qrels(TEN, header="q\td\tgood\n")), "header", 1),
    "TREC's four columns": (beir(test=qrels(TEN, "q{0}\t0\td{0}\t1\n", "")), "", 0),
    "TREC's spaces": (beir(test=qrels(TEN, "q{0} 0 d{0} 1\n", "")), "", 0),
    "fractions": (beir(test=qrels(TEN, "q{0}\td{0}\t1.0\n")), "", 0),
}


@pytest.mark.parametrize("kind", HARMLESS)
def test_published_oddities_are_read_and_counted_and_the_data_is_that_of_the_clean_set(
    tmp_path: Path, kind: str
) -> None:
    files, words, times = HARMLESS[kind]
    clean, data = read(write(tmp_path / "clean", beir())), read(write(tmp_path / "odd", files))
    assert data.fingerprint == clean.fingerprint and not clean.notices
    assert not words or told(data, words) == times


LOSSES: dict[str, tuple[Files, str]] = {
    "ArguAna's dangling document": (
        changed(beir(), TEST, "q31\tgone\t1\n"),
        "judgment of a passage id that is missing",
    ),
    "a dangling query": (changed(beir(), TEST, "gone\td31\t1\n"), "judgment of a query id that is missing"),
    "a judged empty document": (
        changed(changed(beir(), CORPUS, EMPTY), TEST, "q31\te\t1\n"),
        "judgment of an empty passage",
    ),
    "a score that is none": (changed(beir(), TEST, "q31\td31\thigh\n"), "score is no number"),
    "a broken line": (changed(beir(), CORPUS, '{"_id": "x", "te\n'), "not JSON"),
    "two texts of an id": (
        changed(beir(), CORPUS, jsonl([{"_id": "d0", "text": "x"}])),
        "repeated id with another text",
    ),
}


@pytest.mark.parametrize("kind", LOSSES)
def test_what_loses_a_judgment_needs_a_word_and_is_then_counted(tmp_path: Path, kind: str) -> None:
    files, problem = LOSSES[kind]
    clean, place = read(write(tmp_path / "clean", beir())), write(tmp_path / "odd", files)
    assert [found for *_, found in problems_of(place)] == [problem]
    with pytest.raises(DataError, match=r"data\.skip_broken=true leaves all of them out"):
        read(place)
    data = read(place, skip_broken=True)
    assert data.fingerprint == clean.fingerprint
    assert data.notices[f"left out (data.skip_broken): {problem}"] == 1


def test_judgments_that_are_all_lost_are_an_error_still(tmp_path: Path) -> None:
    place = write(tmp_path, beir(test=qrels(TEN, "q{0}\tgone\t1\n")))
    assert problems_of(place, skip_broken=True) == [("test.tsv", 0, "no row of test is a pair that can be used")]


def test_without_its_passages_a_set_has_one_problem(tmp_path: Path) -> None:
    files = {name: content for name, content in beir().items() if name != "corpus.jsonl"}
    assert problems_of(write(tmp_path, files)) == [("corpus.jsonl", 0, "no such file")]


@pytest.mark.parametrize("found", [{}, {"qrels/notes.txt": "x"}, {"qrels.txt.bak": "q0 0 d0 1"}], ids=str)
def test_without_its_judgments_a_set_has_one_problem(tmp_path: Path, found: Files) -> None:
    files = {name: content for name, content in beir().items() if not name.startswith("qrels")}
    place = write(tmp_path, {**files, **found})
    assert problems_of(place) == [("qrels", 0, "there are no judgments of train, dev or test")]
    with pytest.raises(DataError, match=r"such as qrels/test\.tsv"):
        read(place)


def test_ids_may_be_whole_numbers(tmp_path: Path) -> None:
    texts = {"corpus": PASSAGES, "queries": QUERIES}
    made: Files = {
        f"{kind}.jsonl": jsonl({"_id": i, "text": t} for i, t in enumerate(of)) for kind, of in texts.items()
    }
    data = read(write(tmp_path, {**made, "qrels/test.tsv": tsv(range(40), range(40), [1] * 40)}))
    assert named(data, "test") == [(q, [p]) for q, p in zip(QUERIES, PASSAGES, strict=True)]


def test_ms_marcos_names_are_read(tmp_path: Path) -> None:
    files = {
        "collection.tsv": tsv(range(40), PASSAGES),
        "queries.train.tsv": tsv(range(30), QUERIES[:30]),
        "queries.dev.small.tsv": tsv(range(30, 40), QUERIES[30:]),
        "qrels.train.tsv": tsv(range(30), [0] * 30, range(30), [1] * 30),
        "qrels.dev.small.tsv": tsv(range(30, 40), [0] * 10, range(30, 40), [1] * 10),
    }
    data = read(write(tmp_path, files))
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 30, "dev": 10}
    assert not data.notices


FLAG = [{"query": q, "pos": [p], "neg": [n, f"{n}!"]} for q, p, n in zip(QUERIES, PASSAGES, WRONG, strict=True)]


def test_a_mined_file_with_doubled_and_empty_texts_is_that_without_them(tmp_path: Path) -> None:
    odd = [dict(row) for row in FLAG]
    odd[3]["pos"] = [PASSAGES[3], PASSAGES[3]]
    odd[4]["neg"] = [WRONG[4], "", f"{WRONG[4]}!", None]
    odd[5]["neg"] = [WRONG[5], PASSAGES[5], f"{WRONG[5]}!"]
    clean = read(write(tmp_path / "clean", {"train.jsonl": jsonl(FLAG)}))
    data = read(write(tmp_path / "odd", {"train.jsonl": jsonl(odd)}))
    assert data.fingerprint == clean.fingerprint
    assert told(data, "repeated pairs of train") == 1
    assert told(data, "empty negatives") == 2
    assert told(data, "negatives of train that are positives of their query") == 1


def test_oddities_of_separated_files_are_read_and_counted(tmp_path: Path) -> None:
    pairs = tsv(QUERIES, PASSAGES)
    clean = read(write(tmp_path / "clean", {"train.tsv": pairs, "corpus.tsv": tsv(PASSAGES)}))
    odd = "\ufeff" + (pairs + pairs[: pairs.index("\n") + 1] + "\n\n").replace("\n", "\r\n")
    data = read(write(tmp_path / "odd", {"train.tsv": odd, "corpus.tsv": tsv(PASSAGES).replace("\n", "\r\n")}))
    assert data.fingerprint == clean.fingerprint
    assert told(data, "byte order mark") == told(data, "repeated pairs") == 1
    assert (told(data, "blank lines"), told(data, "carriage returns")) == (2, 43 + 40)


def test_what_was_found_is_inspected_with_three_rows_of_each_file(tmp_path: Path) -> None:
    files = changed(beir(), TEST, "q31\td31\t1\n") | {"notes.bin": b"x"}
    shown = render(inspect(write(tmp_path, files)))
    assert "1  repeated pairs of test, joined" in shown and "files not read: notes.bin" in shown
    for name in ("corpus.jsonl", "queries.jsonl", "train.tsv", "test.tsv"):
        section = shown.split(f"first rows of {name}")[1].split("first rows of")[0]
        assert section.count("\n  - ") == 3
    assert f"query:     {QUERIES[30]}" in shown and f"passage:   House 30 {PASSAGES[30]}"[:90] in shown
    assert max(map(len, shown.splitlines())) <= 100


def test_distinct_negatives_of_a_query_are_counted(tmp_path: Path) -> None:
    rows = [*FLAG[:9], {**FLAG[9], "neg": [WRONG[9], WRONG[9]]}]
    found = inspect(write(tmp_path, {"train.jsonl": jsonl(rows)}))
    assert found.negatives == {"train": (1, 2.0)}
    assert "smallest number 1, median 2" in render(found)


def test_a_sheet_of_windows_is_told_in_one_line_each(tmp_path: Path) -> None:
    sheet = csv(";", question=QUERIES, answer=PASSAGES).replace("\n", "\r\n").encode("utf-16")
    data = read(write(tmp_path, {"sheet.csv": sheet}))
    assert told(data, "UTF-16") == 1 and told(data, "carriage returns") == 41 and told(data, "has a header") == 1
