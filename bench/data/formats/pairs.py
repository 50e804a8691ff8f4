"""Files with one training row a line: query, positive passage, and negatives where there are some.

A directory has a file for each split (``train``, ``dev``, ``test``, or another name of :mod:`bench.data.splits`), and
may have ``corpus`` (one passage a row), ``unsupervised`` (one text a row) and parts such as ``dev_hard``, a subset of
``dev``. A single file is cut into splits. Each file is a table of any kind that :mod:`bench.data.tables` reads, so that
the layouts of PaddleNLP, FlagEmbedding, Sentence Transformers, Tevatron and of a spreadsheet are all read here.

Source of the layouts: PaddleNLP, ``applications/neural_search/recall/in_batch_negative/data.py``;
github.com/FlagOpen/FlagEmbedding, ``examples/finetune/embedder/README.md``; Sentence Transformers, "Dataset overview";
github.com/texttron/tevatron, "Data format".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from bench.data.build import Builder
from bench.data.columns import TRAINED_ON
from bench.data.dataset import DataSet
from bench.data.formats import labelled
from bench.data.formats.base import Format, Reading
from bench.data.rows import HELD_OUT, Entry, entries, hold_out, texts
from bench.data.splits import NAMES, SPLITS, Folder, stem_of
from bench.data.tables import read_table
from bench.data.validation import Problems

CORPUS = (("corpus",), ("collection", "passages", "documents"))
UNSUPERVISED = ("unsupervised", "train_unsupervised")


def read(path: Path, reading: Reading) -> DataSet:
    """The data set in the directory ``path`` or in one file.

    The corpus is the file of that name and otherwise every passage that a row names. A positive of train need not be
    in the corpus (in literature search it is a title with keywords); one of dev or test must be.
    Raises :class:`DataError`.
    """
    problems = Problems(reading.skip_broken)
    if path.is_file():
        return _single(path, path.name, None, reading, problems)
    folder = Folder(path)
    if alone := _only_table(folder):
        folder.took(alone)
        return _single(alone, path.name, folder, reading, problems)
    builder = Builder(path.name, problems)
    files = folder.splits(problems)
    if not files and not problems.found:
        problems.add(path, 0, "there is no file of train, dev or test", "the pairs are in files such as train.tsv")
    splits = {
        split: [row for file in of for row in _entries(file, split, reading, problems)] for split, of in files.items()
    }
    if reading.cut:
        splits = cut(splits, problems)
    if corpus := next(filter(None, map(folder.named, CORPUS)), []):
        if not sum(_corpus(builder, file, reading, problems) for file in corpus):
            problems.raise_if_any()  # every positive would be missing
    else:
        corpus_of_rows(builder, splits)
    relate(builder, splits)
    for split, of in files.items():
        builder.require(split, of)
    for name, split, file in folder.parts():
        if split in splits and name not in UNSUPERVISED:
            folder.took(file)
            _part(builder, name, split, file, reading)
    for file in folder.named(UNSUPERVISED):
        builder.unlabelled.extend(_texts(file, reading, problems))
    folder.tell_unread(problems)
    return builder.build(path)


def _single(path: Path, name: str, folder: Folder | None, reading: Reading, problems: Problems) -> DataSet:
    """The data set of one file that names no splits: some of its queries become dev and test."""
    builder = Builder(name, problems)
    splits = cut({"train": _entries(path, "train", reading, problems)}, problems)
    corpus_of_rows(builder, splits)
    relate(builder, splits)
    builder.require("train", [path])
    if folder is not None:
        folder.tell_unread(problems)
    return builder.build(path)


def _only_table(folder: Folder) -> Path | None:
    """The file of a directory that has one file of rows, which is no split."""
    (only, *others) = [*folder.tables, None]
    fits = only is not None and others == [None] and folder.tables[only] not in (*NAMES, *CORPUS[0], *UNSUPERVISED)
    return only if fits else None


def _entries(path: Path, split: str, reading: Reading, problems: Problems) -> list[Entry]:
    wanted = [name for role in (*TRAINED_ON, "group") for name in reading.columns.get(role, ())]
    table = read_table(path, problems, wanted)
    return [] if table is None else entries(table, reading.columns, problems, lenient=split != "train")


def _texts(path: Path, reading: Reading, problems: Problems) -> Iterable[str]:
    chosen = reading.columns.get("passage", ())
    table = read_table(path, problems, chosen, one_column=True)
    return () if table is None else texts(table, chosen, problems)


def _corpus(builder: Builder, path: Path, reading: Reading, problems: Problems) -> int:
    """Add the passages of a file; how many there are."""
    found = list(_texts(path, reading, problems))
    for text in found:
        builder.corpus(text)
        builder.show(path, [("passage", text)])
    return len(found)


def _part(builder: Builder, name: str, split: str, path: Path, reading: Reading) -> None:
    """A part, if most rows of its file are pairs of the split; otherwise the file is named and left out."""
    own = Problems(reading.skip_broken)
    rows = _entries(path, split, reading, own)
    pairs = [(row.at[1], row.query, text) for row in rows for text, _ in row.positives]
    fitting = sum(builder.has_pair(split, query, text) for _, query, text in pairs)
    if fitting and 2 * fitting >= len(pairs):
        builder.problems.include(own)
        builder.part(name, split, pairs, path)
    else:
        builder.problems.tell(f"files not read: {path.name}, whose lines are no pairs of {split}")


def cut(splits: Mapping[str, list[Entry]], problems: Problems) -> dict[str, list[Entry]]:
    """:func:`~bench.data.rows.hold_out`, told."""
    whole = hold_out(splits)
    if splits.get("train") and whole.keys() == splits.keys() != set(SPLITS):
        number = len({entry.query for entry in splits["train"] if entry.positives})
        problems.tell(f"queries of train, too few to cut dev or test from (it takes {HELD_OUT})", number)
    for name in [name for name in whole if name not in splits]:
        number = len({entry.query for entry in whole[name]})
        problems.tell(f"queries of train that became {name}, chosen by a hash of their text", number)
    return whole


def corpus_of_rows(builder: Builder, splits: Mapping[str, Sequence[Entry]]) -> None:
    """Make every passage that a row names the corpus."""
    rows = [row for split in splits.values() for row in split]
    named = dict.fromkeys(text for row in rows for text, _ in (*row.positives, *row.negatives))
    for text in named:
        builder.corpus(text)
    builder.problems.tell("passages that the rows name: they are the corpus, as there is no corpus file", len(named))


def relate(builder: Builder, splits: Mapping[str, Sequence[Entry]]) -> None:
    """Add the relations of all rows. A row of negatives only needs a pair of its query in another row of the split."""
    for split, rows in splits.items():
        for row in rows:
            for text, score in row.positives:
                builder.pair(split, row.query, text, row.at, score=score)
            if row.group is not None and row.positives:
                builder.group(split, row.query, row.group)
            for text, score in row.negatives if row.positives else ():
                builder.negative(split, row.query, text, row.at, score)
            builder.show(row.at[0], _cells(row))
        for row in rows:
            if not row.positives:
                for text, score in row.negatives:
                    builder.negative(split, row.query, text, row.at, score)


def _cells(row: Entry) -> Iterator[tuple[str, str]]:
    """A row as it was read, by role."""
    yield "query", row.query
    yield from (("positive", text) for text, _ in row.positives)
    yield from (("negative", text) for text, _ in row.negatives)


def _fits(place: Path, reading: Reading) -> bool:
    if labelled.fits(place, reading):
        return False
    if place.is_file():
        return stem_of(place.name) is not None
    folder = Folder(place)
    judged = any(entry.name.lower().startswith(("queries", "topics", "qrels")) for entry in folder.entries)
    return folder.has(NAMES) or (not judged and (folder.has(CORPUS[0]) or _only_table(folder) is not None))


FORMAT = Format(
    "rows of pairs",
    "train.tsv, train.csv, train.jsonl, train.json or train.parquet, with dev, test and corpus, or one such file",
    _fits,
    read,
)
