"""One set of rows, written as people have it: whatever the file is, the data set is the same."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import PASSAGES, QUERIES, WRONG, csv, jsonl, named, problems_of, read, told, tsv, write

from bench.data import DataConfig, DataError, load
from bench.data.columns import parse
from bench.errors import UserError

PAIRS = [{"query": q, "positive": p} for q, p in zip(QUERIES, PASSAGES, strict=True)]
MORE = [f"{text}!" for text in WRONG]
MINED = list(zip(QUERIES, PASSAGES, WRONG, MORE, strict=True))


def parquet(**columns: Any) -> bytes:
    file = io.BytesIO()
    pd.DataFrame(columns).to_parquet(file)
    return file.getvalue()


SHEET = csv(question=QUERIES, answer=PASSAGES)
SAME_PAIRS: dict[str, tuple[str, str | bytes]] = {
    "tab": ("a.tsv", tsv(QUERIES, PASSAGES)),
    "tab in a csv": ("a.csv", tsv(QUERIES, PASSAGES)),
    "tab with a header": ("a.txt", csv("\t", anchor=QUERIES, positive=PASSAGES)),
    "tab, all quoted": ("a.tsv", csv("\t", 1, header=False, a=QUERIES, b=PASSAGES)),
    "comma": ("a.csv", SHEET),
    "comma, all quoted": ("a.csv", csv(",", 1, question=QUERIES, answer=PASSAGES)),
    "semicolon": ("a.csv", csv(";", question=QUERIES, answer=PASSAGES)),
    "no header": ("a.csv", csv(header=False, a=QUERIES, b=PASSAGES)),
    "an index": ("a.csv", pd.DataFrame({"query": QUERIES, "positive": PASSAGES}).to_csv()),
    "upper case": ("A.CSV", csv(Question=QUERIES, ANSWER=PASSAGES)),
    "byte order mark and CRLF": ("a.csv", b"\xef\xbb\xbf" + SHEET.replace("\n", "\r\n").encode()),
    "UTF-16": ("a.csv", SHEET.replace("\n", "\r\n").encode("utf-16")),
    "carriage returns only": ("a.csv", SHEET.replace("\n", "\r")),
    "gzip": ("a.csv.gz", gzip.compress(SHEET.encode())),
    "gzip by another name": ("a.csv", gzip.compress(SHEET.encode())),
    "blank lines": ("a.csv", SHEET.replace("\n", "\n\n", 3) + "\n\n"),
    "JSON Lines": ("a.jsonl", jsonl(PAIRS)),
    "JSON Lines of arrays": ("a.jsonl", jsonl([q, p] for q, p in zip(QUERIES, PASSAGES, strict=True))),
    "FlagEmbedding": ("a.jsonl", jsonl({"query": r["query"], "pos": [r["positive"]], "neg": []} for r in PAIRS)),
    "JSON array": ("a.json", json.dumps(PAIRS)),
    "JSON array called JSON Lines": ("a.jsonl", json.dumps(PAIRS, indent=2)),
    "JSON objects over several lines": ("a.jsonl", "\n".join(json.dumps(row, indent=1) for row in PAIRS)),
    "JSON object of columns": ("a.json", json.dumps({"query": QUERIES, "positive": PASSAGES})),
    "JSON array within an object": ("a.json", json.dumps({"version": "1", "data": PAIRS})),
    "Parquet": ("a.parquet", parquet(anchor=QUERIES, positive=PASSAGES)),
    "Tevatron": (
        "a.jsonl",
        jsonl(
            {"query_id": i, "query": row["query"], "positive_passages": [{"docid": str(i), "text": row["positive"]}]}
            for i, row in enumerate(PAIRS)
        ),
    ),
}


@pytest.mark.parametrize("kind", SAME_PAIRS)
def test_the_same_rows_are_the_same_data(tmp_path: Path, kind: str) -> None:
    name, content = SAME_PAIRS[kind]
    data = read(write(tmp_path, {name: content}) / name)
    assert sorted(row for split in data.splits for row in named(data, split)) == sorted(
        (row["query"], [row["positive"]]) for row in PAIRS
    )
    write(tmp_path / "plain", {"plain.tsv": tsv(QUERIES, PASSAGES)})
    assert data.fingerprint == read(tmp_path / "plain").fingerprint


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (
            "train.jsonl",
            jsonl({"anchor": q, "positive": p, "negative_1": n, "negative_2": m} for q, p, n, m in MINED),
        ),
        ("train.csv", csv(anchor=QUERIES, positive=PASSAGES, negative=WRONG, negative_2=MORE)),
        ("train.tsv", tsv(QUERIES, PASSAGES, WRONG, MORE)),
        ("train_pairwise.csv", csv("\t", query=QUERIES, title=PASSAGES, neg_title=WRONG, neg_title2=MORE)),
        ("train.jsonl", jsonl({"query": q, "pos": [p], "neg": [n, m]} for q, p, n, m in MINED)),
        (
            "train.jsonl",
            jsonl(
                {
                    "query": q,
                    "positive_passages": [{"text": p}],
                    "negative_passages": [{"title": n[:7], "text": n[8:]}, {"title": "", "text": m}],
                }
                for q, p, n, m in MINED
            ),
        ),
    ],
    ids=["columns", "sheet", "tab", "PaddleNLP", "FlagEmbedding", "Tevatron"],
)
def test_every_negative_is_read(tmp_path: Path, name: str, content: str) -> None:
    data = read(write(tmp_path, {name: content}))
    assert named(data, "train", "negatives") == [(q, [n, m]) for q, _, n, m in MINED]
    assert set(WRONG) < set(data.passages[: data.corpus_size])


@pytest.mark.parametrize(
    ("labels", "least"),
    [([1] * 40 + [0] * 40, 40), ([True] * 40 + [False] * 40, 40), (["entailment"] * 40 + ["contradiction"] * 40, 40)],
)
def test_a_label_says_which_rows_are_pairs(tmp_path: Path, labels: list[Any], least: int) -> None:
    columns = {"sentence1": QUERIES + QUERIES, "sentence2": PASSAGES + WRONG, "label": labels}
    rows = [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
    for number, content in enumerate((csv(**columns), jsonl(rows[::-1]))):
        data = read(write(tmp_path / str(number), {"train.csv" if number == 0 else "train.jsonl": content}))
        assert dict(named(data, "train")) == {q: [p] for q, p in zip(QUERIES, PASSAGES, strict=True)}
        assert dict(named(data, "train", "negatives")) == {q: [n] for q, n in zip(QUERIES, WRONG, strict=True)}


def test_neutral_rows_and_negatives_without_a_pair_are_counted(tmp_path: Path) -> None:
    rows = [("a", "p one", "entailment"), ("a", "p two", "neutral"), ("b", "p three", "contradiction")]
    corpus = tsv(["p one", "p two", "p three"])  # beside a corpus it is no inference set
    files = {"train.tsv": "premise\thypothesis\tgold_label\n" + tsv(*zip(*rows, strict=True)), "corpus.tsv": corpus}
    data = read(write(tmp_path, dict(files)))
    assert named(data, "train") == [("a", ["p one"])]
    assert (told(data, "neutral"), told(data, "without a positive")) == (1, 1)


@pytest.mark.parametrize("labels", [[4.5, 0.2] * 20, [0, 1, 2, 1] * 10])
def test_a_score_without_a_threshold_is_refused_once(tmp_path: Path, labels: list[float]) -> None:
    write(
        tmp_path, {"train.csv": csv(sentence1=QUERIES, sentence2=PASSAGES, score=labels), "corpus.tsv": tsv(PASSAGES)}
    )
    with pytest.raises(DataError, match=r"column 'score' do not say.*leave the column out") as caught:
        read(tmp_path)
    assert len(caught.value.problems) == 1


def test_texts_of_a_sheet_are_kept_with_commas_quotes_and_line_breaks(tmp_path: Path) -> None:
    texts = [f'{p}\n\nAnd "so on", {n};\ta tab' for p, n in zip(PASSAGES, WRONG, strict=True)]
    for separator in ",;\t":
        folder = write(tmp_path / str(ord(separator)), {"train.csv": csv(separator, question=QUERIES, answer=texts)})
        assert named(read(folder), "train") == [(q, [t]) for q, t in zip(QUERIES, texts, strict=True)]


cells = st.text(st.characters(codec="utf-8", exclude_characters="\r\0\ufeff"), min_size=1, max_size=12).map(
    lambda text: f"text {text} end"
)


@settings(derandomize=True, deadline=None)
@given(
    st.lists(st.tuples(cells, cells), min_size=2, max_size=6, unique=True),
    st.sampled_from(",;\t"),
    st.sampled_from([0, 1]),
)
def test_any_texts_go_through_any_csv(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], separator: str, quoting: int
) -> None:
    queries, passages = [q for q, _ in rows], [p for _, p in rows]
    folder = tmp_path_factory.mktemp("sheet")
    data = read(write(folder, {"train.csv": csv(separator, quoting, query=queries, positive=passages)}))
    assert {(q, p) for q, of in named(data, "train") for p in of} == set(rows)


PIECES = [
    *('"', '""', "\t", ",", ";", "\n", "\r", "\r\n", "{", "}", "[", "]", ":", "\0", " ", "\u2028", "\ufeff", "é", "1"),
    *("query", "positive", "label", "null", "NaN", "1e999", "\\ud800", "PAR1", "\x1f\x8b", '[["a", "b"]]'),
    *('{"query": "a", "pos": ["b"]}\n', '{"query": {}, "positive": [1]}\n'),
    *("query\tpositive\n", "a question\tan answer\n", "a question,an answer\n"),
]
STEMS = ["train", "dev", "corpus", "dev_hard", "queries", "qrels", "qrels/test", "x"]


@settings(derandomize=True, deadline=None, max_examples=300)
@given(
    st.dictionaries(
        st.tuples(st.sampled_from(STEMS), st.sampled_from([".tsv", ".csv", ".jsonl", ".json", ".parquet", ".tsv.gz"])),
        st.lists(st.sampled_from(PIECES), max_size=12).map("".join)
        | st.binary(max_size=20).map(lambda b: b.decode("latin-1")),
        min_size=1,
        max_size=4,
    ),
    st.booleans(),
    st.sampled_from([None, "query:1,positive:2", "query:query,positive:a"]),
)
def test_whatever_the_files_hold_is_data_or_an_error_that_says_what_is_wrong(
    tmp_path_factory: pytest.TempPathFactory, files: dict[tuple[str, str], str], skip: bool, columns: str | None
) -> None:
    folder = tmp_path_factory.mktemp("any")
    write(folder, {stem + suffix: content.encode("latin-1", "replace") for (stem, suffix), content in files.items()})
    try:
        assert read(folder, skip_broken=skip, columns=columns).fingerprint
    except UserError as error:
        assert str(error)


def test_texts_with_tabs_are_no_reason_to_read_a_sheet_as_tab_separated(tmp_path: Path) -> None:
    queries = [f"{q}\tor so" if i % 2 == 0 else q for i, q in enumerate(QUERIES)]
    data = read(write(tmp_path, {"train.csv": csv(quoting=1, header=False, query=queries, positive=PASSAGES)}))
    assert named(data, "train") == [(q, [p]) for q, p in zip(queries, PASSAGES, strict=True)]


def test_quotation_marks_of_texts_are_kept(tmp_path: Path) -> None:
    data = read(write(tmp_path, {"train.tsv": '"Hello" he said\tan "answer"\n"Quoted"\tplain, text\n'}))
    assert named(data, "train") == [('"Hello" he said', ['an "answer"']), ('"Quoted"', ["plain, text"])]
    data = read(write(tmp_path / "other", {"train.tsv": '"Quoted"\tplain, text\nanother\tone\n'}))
    assert named(data, "train")[0][0] == '"Quoted"' and told(data, "quotation marks, which were kept") == 1


def test_a_corpus_may_have_commas_and_be_any_table(tmp_path: Path) -> None:
    rows = {"train.tsv": tsv(QUERIES, PASSAGES)}
    lists: dict[str, str | bytes] = {
        "corpus.csv": "".join(f"{text}\n" for text in PASSAGES + WRONG),
        "corpus.txt": csv(text=PASSAGES + WRONG),
        "corpus.tsv": csv("\t", id=range(80), passage=PASSAGES + WRONG),
        "corpus.jsonl": jsonl({"text": text} for text in PASSAGES + WRONG),
        "corpus.parquet": parquet(text=PASSAGES + WRONG),
    }
    for number, (name, content) in enumerate(lists.items()):
        data = read(write(tmp_path / str(number), rows | {name: content}))  # type: ignore[operator]
        assert list(data.passages) == PASSAGES + WRONG, name


def test_columns_of_other_names_are_chosen(tmp_path: Path) -> None:
    sheet = csv(";", Nummer=range(40), Antwort=PASSAGES, Frage=QUERIES, Falsch=WRONG)
    place = write(tmp_path, {"daten.csv": sheet}) / "daten.csv"
    with pytest.raises(DataError, match=r"semicolon-separated.*|Nummer, Antwort, Frage, Falsch.*data\.columns="):
        read(place)
    data = read(place, columns="query:Frage, positive:antwort,negative:Falsch")
    assert dict(named(data, "train")).items() <= {q: [p] for q, p in zip(QUERIES, PASSAGES, strict=True)}.items()
    assert told(data, "columns not read of daten.csv: Nummer") == 1
    by_place = read(
        write(tmp_path / "b", {"daten.tsv": tsv(PASSAGES, QUERIES, WRONG)}), columns="query:2,positive:1,negative:3"
    )
    assert by_place.fingerprint == data.fingerprint
    with pytest.raises(DataError, match=r"no column 'Fragen'.*Frage"):
        read(place, columns="query:Fragen,positive:Antwort")


@pytest.mark.parametrize("setting", ["query", "question:query", "query:a,query:b,positive:c", "query:"])
def test_a_wrong_choice_of_columns_says_how_it_is_written(setting: str) -> None:
    with pytest.raises(UserError, match=r"data\.columns="):
        parse(setting)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", csv(Frage=QUERIES, Antwort=PASSAGES), "Frage, Antwort"),
        ("a.jsonl", jsonl({"id": 1, "frage": "x", "antwort": "y", "z": 1} for _ in range(9)), "frage, antwort"),
        ("a.jsonl", jsonl({"bar": p, "foo": q} for q, p in zip(QUERIES, PASSAGES, strict=True)), "bar, foo"),
        ("a.json", json.dumps({"bar": PASSAGES, "foo": QUERIES}), "bar, foo"),
        ("a.parquet", parquet(id=range(len(QUERIES)), left=QUERIES, right=PASSAGES), "id, left, right"),
        ("a.tsv", "".join(f"{q}\n" for q in QUERIES), "one column"),
        ("a.jsonl", SHEET, "is no JSON"),
        ("a.csv", b"PK\x03\x04 and so on\n" * 9, "save the sheet as CSV"),
        ("a.csv", csv(question=[q + " é" for q in QUERIES], answer=PASSAGES).encode("latin-1"), "is not UTF-8"),
        ("a.tsv", SHEET.encode("utf-16-le"), "NUL bytes"),
        ("a.parquet", SHEET, "no readable Parquet"),
        ("a.csv", "query,positive\n", "no row of train is a pair"),
        ("a.csv", 'query,positive\n"open,b\nc,d\n', "quotation marks do not close"),
    ],
)
def test_what_is_no_table_of_pairs_is_one_problem_that_says_what_it_is(
    tmp_path: Path, name: str, content: str | bytes, words: str
) -> None:
    with pytest.raises(DataError, match=words) as caught:
        load(DataConfig(str(write(tmp_path, {name: content}) / name)))
    assert len(caught.value.problems) == 1
    assert problems_of(tmp_path / name)[0][0] == name


@pytest.mark.parametrize("odd", [1, 5])
def test_a_sheet_in_another_encoding_is_told_to_be_saved_as_utf_8(tmp_path: Path, odd: int) -> None:
    queries = [f"un café {number}" if number < odd else query for number, query in enumerate(QUERIES)]
    place = write(tmp_path, {"a.csv": csv(question=queries, answer=PASSAGES).encode("latin-1")}) / "a.csv"
    with pytest.raises(DataError, match=r"save it as UTF-8 \(spreadsheets: CSV UTF-8\)"):
        read(place)


def test_the_line_that_tells_spreadsheets_the_separator_is_no_row(tmp_path: Path) -> None:
    plain = read(write(tmp_path / "plain", {"a.csv": csv(";", question=QUERIES, answer=PASSAGES)}) / "a.csv")
    for line in ("sep=;", '"sep=;"', "SEP=;;"):
        sheet = f"{line}\r\n{csv(';', question=QUERIES, answer=PASSAGES)}"
        data = read(write(tmp_path / "hint", {"a.csv": sheet}) / "a.csv")
        assert data.fingerprint == plain.fingerprint and told(data, "a line for spreadsheets") == 1


def test_columns_that_a_spreadsheet_left_without_a_name_are_not_named(tmp_path: Path) -> None:
    sheet = "".join(f"{line};;;\n" for line in csv(";", question=QUERIES, answer=PASSAGES).splitlines())
    data = read(write(tmp_path, {"a.csv": sheet}) / "a.csv")
    assert told(data, "a.csv has a header: question, answer") == 1 and not told(data, "columns not read")
    assert any(notice.endswith("header: question, answer") for notice in data.notices)


def test_columns_that_are_proposed_hold_texts(tmp_path: Path) -> None:
    place = write(tmp_path, {"a.csv": csv(";", Nr=range(40), Frage=QUERIES, Antwort=PASSAGES)}) / "a.csv"
    with pytest.raises(DataError, match=r"\(Nr, Frage, Antwort; name the columns") as error:
        read(place)
    assert "'query:Frage,positive:Antwort'" in str(error.value)
    assert read(place, columns="query:Frage,positive:Antwort").counts["corpus"] == len(PASSAGES)


IDS = [f"u{number}" for number in range(40)]


@pytest.mark.parametrize(
    ("name", "content", "missing", "fit"),
    [
        ("a.jsonl", {"uid": IDS, "prompt": QUERIES, "completion": PASSAGES}, "", "query:prompt,positive:completion"),
        ("a.jsonl", {"completion": PASSAGES, "prompt": QUERIES}, "", "query:prompt,positive:completion"),
        ("a.parquet", {"n": range(40), "answer": PASSAGES, "ask": QUERIES}, "", "query:ask,positive:answer"),
        ("a.csv", {"id": IDS, "answer": PASSAGES, "ask": QUERIES}, "", "query:ask,positive:answer"),
        ("a.csv", {"prompt": QUERIES, "completion": PASSAGES}, "completion", "query:prompt,positive:completion"),
        ("a.csv", {"uid": IDS, "answer": PASSAGES, "ask": QUERIES}, "uid, ask", "query:ask,positive:answer"),
    ],
)
def test_a_known_column_keeps_its_role_in_what_is_proposed(
    tmp_path: Path, name: str, content: dict[str, Any], missing: str, fit: str
) -> None:
    rows = [dict(zip(content, cells, strict=True)) for cells in zip(*content.values(), strict=True)]
    made = {"a.jsonl": jsonl(rows), "a.csv": csv(**content), "a.parquet": parquet(**content)}
    place = write(tmp_path, {name: made[name]}) / name
    with pytest.raises(DataError) as error:
        read(place)
    assert f"\"data.columns='{fit}'\"" in str(error.value)
    assert not missing or f"names that are not known ({missing};" in str(error.value)
    assert (
        dict(named(read(place, columns=fit), "train")).items()
        <= {q: [p] for q, p in zip(QUERIES, PASSAGES, strict=True)}.items()
    )


def test_one_column_is_not_said_to_be_separated(tmp_path: Path) -> None:
    rows = "".join(f"question {i}|answer {i}\n" for i in range(40))
    with pytest.raises(DataError, match="separated by no TAB, comma or semicolon"):
        read(write(tmp_path, {"a.csv": rows}) / "a.csv")


def test_a_workbook_and_a_directory_of_tables_are_told_the_way_on(tmp_path: Path) -> None:
    write(tmp_path, {"a.xlsx": b"PK\x03\x04" + b"0" * 100})
    with pytest.raises(UserError, match="save the sheet as CSV"):
        read(tmp_path / "a.xlsx")
    write(tmp_path, {"one.csv": SHEET, "two.csv": SHEET})
    with pytest.raises(UserError, match=r"give the file itself, such as .*one\.csv"):
        read(tmp_path)
    with pytest.raises(UserError, match="is no directory, file or preset"):
        read(tmp_path / "three.csv")
