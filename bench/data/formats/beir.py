"""Texts with ids and relevance judgments of ids: the layouts of BEIR, TREC and MS MARCO.

``corpus.jsonl``, ``queries.jsonl`` and ``qrels/{train,dev,test}.tsv`` (BEIR), or ``collection.tsv``,
``queries.train.tsv`` and ``qrels.train.tsv`` (MS MARCO), each a table of any kind. Judgments are ``query, passage,
grade``, or TREC's ``query 0 passage grade``, with a header or without.

DataSource: Thakur et al., "BEIR: A Heterogeneous Benchmark for Zero-shot Evaluation of Information Retrieval
Models", 2021, and the wiki of github.com/beir-cellar/beir; trec.nist.gov, "Format of qrels files".
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.data.build import Builder
from bench.data.columns import PASSAGE, QUERY, SCORE
from bench.data.dataset import DataSet
from bench.data.formats.base import Format, Reading
from bench.data.lines import is_text
from bench.data.rows import column_of
from bench.data.splits import Folder
from bench.data.tables import Row, Table, read_table
from bench.data.validation import Problems
from bench.errors import UserError

CORPUS = (("corpus",), ("collection", "passages", "documents", "docs"))
QUERIES = ("queries", "topics")
QUERY_ID = ("query-id", "query_id", "qid", "queryid", "topic_id", "topic", "_id", "id", "query")
PASSAGE_ID = ("corpus-id", "corpus_id", "docid", "doc_id", "pid", "passage_id", "document_id", "_id", "id", "doc")
GRADE = (*SCORE, "relevance", "label", "rel", "grade", "relevancy", "relevant")


def read(path: Path, reading: Reading) -> DataSet:
    """The data set in the directory ``path``: a passage is title and text joined, a relevance has its grade.

    Judgments of 0 or less are not relevant and skipped; queries without a relevant passage are left out. Entries with
    equal texts are one passage, which keeps the highest grade. Raises :class:`DataError`.
    """
    if reading.columns:
        raise UserError(f"data.columns is for files of pairs; {path} has judgments of ids, whose columns are known")
    problems = Problems(reading.skip_broken)
    folder = Folder(path)
    builder = Builder(path.name, problems)
    corpus = next(filter(None, map(folder.named, CORPUS)), [])
    queries = folder.of_any_split(QUERIES)
    judged = _judged(folder, problems)
    if not judged and not problems.found:
        known = "they are files such as qrels/test.tsv (BEIR) or qrels.test.tsv (MS MARCO)"
        problems.add(path / "qrels", 0, "there are no judgments of train, dev or test", known)
    for found, name in ((corpus, "corpus.jsonl"), (queries, "queries.jsonl")):
        if not found:
            problems.add(path / name, 0, "no such file", "nor another kind of table of this name")
    problems.raise_if_any()
    passages = _texts(corpus, PASSAGE_ID, PASSAGE, "passages", builder)
    texts = _texts(queries, QUERY_ID, ("text", *QUERY, "title"), "queries", builder)
    for name, text in passages.items():
        if text:
            builder.corpus(text, name)
    builder.name_queries({text: name for name, text in reversed(texts.items())})
    for split, files in judged.items():
        for file in files:
            for line, query, passage, grade in _qrels(file, problems):
                _judge(builder, split, (file, line), (query, texts.get(query)), (passage, passages.get(passage)), grade)
        builder.require(split, files)
    folder.tell_unread(problems)
    return builder.build(path)


def _judged(folder: Folder, problems: Problems) -> dict[str, list[Path]]:
    """The files of judgments by split: those of ``qrels/``, those called ``qrels.SPLIT``, or a single one of test."""
    inside = folder.path / "qrels"
    if inside in folder.entries:
        folder.took(inside)
        place = Folder(inside)
        found = place.splits(problems)
        place.tell_unread(problems)
        return found
    found = folder.splits(problems, before="qrels")
    if not found and (only := folder.named(["qrels"])):
        problems.tell(f"{only[0].name} names no split and was read as test")
        return {"test": only}
    return found


def _judge(
    builder: Builder,
    split: str,
    at: tuple[Path, int],
    query: tuple[str, str | None],
    passage: tuple[str, str | None],
    grade: float,
) -> None:
    """Add one judgment, of (id, text) and (id, text); those that cannot be used are told."""
    for kind, (name, text) in (("query", query), ("passage", passage)):
        if not text:
            what = f"judgment of an empty {kind}" if text is not None else f"judgment of a {kind} id that is missing"
            if grade > 0:
                builder.problems.lose(*at, what, name)
            else:
                builder.problems.tell(f"{what}, not relevant anyway")
            return
    builder.show(at[0], [("query", query[1] or ""), ("passage", passage[1] or ""), ("grade", f"{grade:g}")])
    if grade > 0:
        builder.pair(split, query[1] or "", passage[1] or "", at, grade=grade)


def _texts(
    files: Sequence[Path], ids: Sequence[str], texts: Sequence[str], kind: str, builder: Builder
) -> dict[str, str]:
    """Id → text; "" for empty ones, which are told. Of a title and a text, both."""
    found: dict[str, str] = {}
    problems = builder.problems
    for path in files:
        table = read_table(path, problems)
        columns = None if table is None else _columns(table, ids, texts)
        if table is None:
            continue
        if columns is None:
            if table.columns:
                problems.add(path, 0, f"an id and a text are needed, such as _id and text; the file is {table}")
            continue
        for line, row in table.rows:
            name, parts = id_of(row.get(columns[0])), [row.get(column) for column in columns[1:]]
            text = " ".join(part for part in parts if isinstance(part, str)).strip()
            if not name:
                problems.lose(path, line, f"{columns[0]!r} is missing or no id")
            elif not all(part is None or isinstance(part, str) or part != part for part in parts):
                problems.lose(path, line, f"{' and '.join(columns[1:])} hold no text")
            elif text and not is_text(text):
                problems.lose(path, line, "broken characters (lone surrogates)")
            elif name in found and found[name] != text:
                problems.lose(path, line, "repeated id with another text", name)
            else:
                problems.tell(f"repeated ids of {kind} with the same text, joined", int(name in found))
                problems.tell(f"empty {kind} left out", int(not text and name not in found))
                found.setdefault(name, text)
                builder.show(path, [("id", name), ("text", text)])
    return found


def _columns(table: Table, ids: Sequence[str], texts: Sequence[str]) -> list[str] | None:
    """The columns of the id, of the title where there is one, and of the text."""
    if not table.named:
        places = {2: (0, 1), 3: (0, 1, 2), 4: (0, 2, 3)}  # id, text; id, title, text; id, url, title, text
        return [table.columns[i] for i in places[len(table.columns)]] if len(table.columns) in places else None
    name, text = column_of(table.columns, ids), column_of(table.columns, texts)
    title = column_of(table.columns, ["title"])
    if name is None or text is None:
        return None
    return [name, text] if title in (None, text) else [name, title, text]


def id_of(value: object) -> str:
    """An id as text, whether the file has it as a text or as a whole number; "" for anything else."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _qrels(path: Path, problems: Problems) -> Iterator[tuple[int, str, str, float]]:
    """``(line, query id, passage id, grade)`` of every judgment."""
    table = read_table(path, problems)
    if table is None:
        return
    first: dict[tuple[str, str], float] = {}
    for number, (line, row) in enumerate(table.rows):
        cells = _cells(table, row)
        if cells is None:
            problems.lose(path, line, "a judgment is query id, passage id and grade", f"the file is {table}")
            continue
        query, passage, grade = id_of(cells[0]).strip('"'), id_of(cells[1]).strip('"'), str(cells[2]).strip(' "')
        try:
            score = float(grade)
        except ValueError:
            score = math.nan
        if not math.isfinite(score) and number == 0 and not table.named:
            problems.tell(f"{path.name} has a header: {query}, {passage}, {grade}")
        elif not math.isfinite(score):
            problems.lose(path, line, "score is no number", repr(grade))
        elif first.setdefault((query, passage), score) != score:
            problems.tell("pairs that are judged twice with different grades: the highest counts")
            yield line, query, passage, score
        else:
            yield line, query, passage, score


def _cells(table: Table, row: Row) -> Sequence[object] | None:
    """Query id, passage id and grade of a row; 1 where there is no grade."""
    if table.named:
        query, passage = column_of(table.columns, QUERY_ID), column_of(table.columns, PASSAGE_ID)
        grade = column_of(table.columns, GRADE)
        if query is None or passage is None:
            return None
        return [row.get(query), row.get(passage), 1 if grade is None else row.get(grade)]
    values = list(row.values())
    if len(values) == 1:
        values = str(values[0]).split()
    if len(values) == 4:
        return [values[0], values[2], values[3]]
    return [*values, 1] if len(values) == 2 else values if len(values) == 3 else None


def _fits(place: Path, reading: Reading) -> bool:
    if not place.is_dir():
        return False
    folder = Folder(place)
    return bool(folder.of_any_split((*QUERIES, "qrels"))) or any(entry.name == "qrels" for entry in folder.entries)


FORMAT = Format("BEIR or TREC", "queries.jsonl with corpus.jsonl and qrels/, or TREC's tables", _fits, read)
