"""Reading TAB-separated data: what is read is what was written, and what is broken is told, all of it."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data import DataError, DataSet, inspect
from bench.data.formats import tsv
from bench.errors import UserError

SHARED = Path(__file__).parents[1].parent / "shared" / "data"

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\t\n\r\ufeff"), min_size=1).filter(
    lambda text: text.strip() != ""
)


def write(folder: Path, **files: str | bytes) -> Path:
    """Files of a data set: the keyword ``train`` is ``train.tsv``."""
    folder.mkdir(parents=True, exist_ok=True)
    for stem, content in files.items():
        data = content.encode() if isinstance(content, str) else content
        (folder / f"{stem}.tsv").write_bytes(data)
    return folder


def relations(data: DataSet) -> dict[str, list[tuple[str, list[str]]]]:
    """Per split, each query with its positives, as texts."""
    return {
        name: [
            (data.queries[q], [data.passages[p] for p in split.relevant[row]]) for row, q in enumerate(split.queries)
        ]
        for name, split in data.splits.items()
    }


def problems_of(folder: Path) -> set[tuple[str, int, str]]:
    """(file name, line, kind) of every problem that reading ``folder`` tells."""
    with pytest.raises(DataError) as caught:
        tsv.read(folder)
    return {(problem.path.name, problem.line, problem.kind) for problem in caught.value.problems}


@settings(derandomize=True, deadline=None)
@given(
    corpus=st.lists(texts, min_size=1, max_size=8),
    pairs=st.lists(st.tuples(texts, st.integers(0, 7)), min_size=1, max_size=12),
    data=st.data(),
)
def test_reads_what_was_written(
    tmp_path_factory: pytest.TempPathFactory,
    corpus: list[str],
    pairs: list[tuple[str, int]],
    data: st.DataObject,
) -> None:
    """Every pair is read, equal texts share an id, and neither compression nor the suffix changes anything."""
    lines = list(dict.fromkeys((query, corpus[i % len(corpus)]) for query, i in pairs))
    split = data.draw(st.sampled_from(["train", "dev", "test"]))
    content = {"corpus": corpus, split: [f"{query}\t{positive}" for query, positive in lines]}
    folder = tmp_path_factory.mktemp("plain")
    zipped = tmp_path_factory.mktemp("zipped")
    for stem, rows in content.items():
        whole = "".join(f"{row}\n" for row in rows).encode()
        (folder / f"{stem}.tsv").write_bytes(whole)
        (zipped / f"{stem}.csv.gz").write_bytes(gzip.compress(whole.removesuffix(b"\n")))
    read = tsv.read(folder)

    expected: dict[str, list[str]] = {}
    for query, positive in lines:
        expected.setdefault(query, []).append(positive)
    assert relations(read) == {split: list(expected.items())}
    assert list(read.passages) == list(dict.fromkeys(corpus))
    assert read.joined == len(corpus) - len(set(corpus))
    assert read.corpus_size == len(read.passages)
    assert tsv.read(zipped).fingerprint == read.fingerprint


def test_a_train_positive_outside_the_corpus_is_trained_on_and_not_searched(tmp_path: Path) -> None:
    data = tsv.read(write(tmp_path, corpus="a\nb\n", train="q\tc\nr\ta\n", dev="s\tb\n"))
    assert data.passages == ("a", "b", "c")
    assert data.corpus_size == 2
    assert relations(data)["train"] == [("q", ["c"]), ("r", ["a"])]


def test_a_part_names_rows_of_its_split(tmp_path: Path) -> None:
    data = tsv.read(write(tmp_path, corpus="a\nb\nc\n", dev="q\ta\nr\tb\ns\tc\n", dev_hard="s\tc\nq\ta\n"))
    split, rows = data.parts["dev_hard"]
    assert split == "dev"
    assert {data.queries[data.splits["dev"].queries[row]] for row in rows} == {"q", "s"}


@pytest.mark.parametrize("name", ["unsupervised.txt", "train_unsupervised.csv", "unsupervised.txt.gz"])
def test_unlabelled_texts_are_no_part(tmp_path: Path, name: str) -> None:
    write(tmp_path, corpus="a\n", train="q\ta\n")
    content = b"one\ntwo\none\n"
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    data = tsv.read(tmp_path)
    assert data.unlabelled == ("one", "two", "one")
    assert not data.parts


def test_every_problem_is_told_with_its_place(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        corpus=b"a\nb\n\nc\td\n\xff\xfe\n",
        train=b"q\ta\nq\n \ta\nq\ta\nr\ta\r\n",
        dev="\ufeffq\ta\ns\tnowhere\n",
        dev_hard="q\ta\nx\ta\n",
        test="",
    )
    assert problems_of(folder) == {
        ("corpus.tsv", 3, "blank line"),
        ("corpus.tsv", 4, "wrong number of fields"),
        ("corpus.tsv", 5, "broken UTF-8"),
        ("train.tsv", 2, "wrong number of fields"),
        ("train.tsv", 3, "empty field"),
        ("train.tsv", 4, "repeated pair"),
        ("train.tsv", 5, "carriage return at the line end (save with Unix line ends)"),
        ("dev.tsv", 1, "byte order mark at the start (save as UTF-8 without BOM)"),
        ("dev.tsv", 2, "dev positive missing from the corpus"),
        ("dev_hard.tsv", 2, "line is no pair of dev"),
        ("test.tsv", 0, "empty file"),
    }


def test_a_message_counts_all_problems_and_shows_the_first_ones(tmp_path: Path) -> None:
    folder = write(tmp_path, corpus="a\n", train="q\ta\n" + "\n" * 50 + "three\tfields\there\n")
    with pytest.raises(DataError) as caught:
        tsv.read(folder)
    message = str(caught.value)
    assert len(caught.value.problems) == 51
    assert "51 problems" in message
    assert "50 × blank line" in message
    assert "1 × wrong number of fields" in message
    assert f"{folder / 'train.tsv'}:2: blank line" in message
    assert len(message.splitlines()) < 20


def test_a_cut_gzip_file_is_told(tmp_path: Path) -> None:
    write(tmp_path, train="q\ta\n")
    whole = gzip.compress("".join(f"passage {i}\n" for i in range(1000)).encode())
    (tmp_path / "corpus.tsv.gz").write_bytes(whole[: len(whole) // 2])
    assert ("corpus.tsv.gz", "file cannot be read further") in {(f, kind) for f, _, kind in problems_of(tmp_path)}


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({"train": "q\ta\n"}, "no corpus file"),
        ({"corpus": "a\n"}, "no pair in any of train, dev and test"),
        ({"corpus": "", "train": "q\ta\n"}, "empty file"),
    ],
)
def test_what_a_data_set_cannot_do_without(tmp_path: Path, files: dict[str, str], kind: str) -> None:
    assert any(found.startswith(kind) for _, _, found in problems_of(write(tmp_path, **files)))


def test_two_files_for_one_split_are_not_guessed_between(tmp_path: Path) -> None:
    write(tmp_path, corpus="a\n", train="q\ta\n")
    (tmp_path / "train.csv").write_text("q\ta\n")
    with pytest.raises(UserError, match=r"train\.tsv and train\.csv"):
        tsv.read(tmp_path)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["finqa10k", "medquad"])
def test_real_sets_have_the_lines_their_files_have(name: str) -> None:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    inspection = inspect(folder)
    assert inspection.ok
    for stem, key in (("corpus", "corpus"), ("train", "train_pairs"), ("dev", "dev_pairs"), ("test", "test_pairs")):
        (file,) = folder.glob(f"{stem}.tsv*")
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        assert inspection.counts[key] == content.count(b"\n")


def test_train_may_have_negatives_in_a_third_field(tmp_path: Path) -> None:
    write(tmp_path, corpus="a\nb\nc\n", train="q\ta\tb\nq\ta\td\nr\tb\tc\n", dev="q\tc\n")
    data = tsv.read(tmp_path)
    negatives = data.splits["train"].negatives
    assert negatives is not None
    assert relations(data)["train"] == [("q", ["a"]), ("r", ["b"])]
    assert [[data.passages[p] for p in negatives[row]] for row in range(2)] == [["b", "d"], ["c"]]
    assert data.corpus_size == 3, "a negative that the corpus lacks is trained on, never searched"


def test_negatives_are_in_every_line_or_in_none(tmp_path: Path) -> None:
    write(tmp_path, corpus="a\nb\n", train="q\ta\tb\nr\tb\n", dev="q\ta\tb\n")
    assert problems_of(tmp_path) == {
        ("train.tsv", 2, "wrong number of fields"),
        ("dev.tsv", 1, "wrong number of fields"),
    }
