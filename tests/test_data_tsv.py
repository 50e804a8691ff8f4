"""Reading TAB-separated files: what is read is what was written, and what is broken is told, all of it."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import named, problems_of, read

from bench.data import DataError, DataSet, inspect
from bench.data.columns import is_name
from bench.errors import UserError

SHARED = Path(__file__).parents[1].parent / "shared" / "data"

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\t\n\r\ufeff\0"), min_size=1).filter(
    lambda text: text.strip() != "" and not text.strip().isnumeric() and '"' not in text and not is_name(text)
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
    return {name: named(data, name) for name in data.splits}


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
    found = read(folder)

    expected: dict[str, list[str]] = {}
    for query, positive in lines:
        expected.setdefault(query, []).append(positive)
    assert relations(found) == {split: list(expected.items())}
    assert list(found.passages) == list(dict.fromkeys(corpus))
    assert found.joined == len(corpus) - len(set(corpus))
    assert found.corpus_size == len(found.passages)
    assert read(zipped).fingerprint == found.fingerprint


def test_a_train_positive_outside_the_corpus_is_trained_on_and_not_searched(tmp_path: Path) -> None:
    data = read(write(tmp_path, corpus="a\nb\n", train="q\tc\nr\ta\n", dev="s\tb\n"))
    assert data.passages == ("a", "b", "c")
    assert data.corpus_size == 2
    assert relations(data)["train"] == [("q", ["c"]), ("r", ["a"])]


def test_a_part_names_rows_of_its_split(tmp_path: Path) -> None:
    data = read(write(tmp_path, corpus="a\nb\nc\n", dev="q\ta\nr\tb\ns\tc\n", dev_hard="s\tc\nq\ta\n"))
    split, rows = data.parts["dev_hard"]
    assert split == "dev"
    assert {data.queries[data.splits["dev"].queries[row]] for row in rows} == {"q", "s"}
    assert not data.notices


@pytest.mark.parametrize("name", ["unsupervised.txt", "train_unsupervised.csv", "unsupervised.txt.gz"])
def test_unlabelled_texts_are_no_part(tmp_path: Path, name: str) -> None:
    write(tmp_path, corpus="a\n", train="q\ta\n")
    content = b"one\ntwo\none\n"
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    data = read(tmp_path)
    assert data.unlabelled == ("one", "two", "one")
    assert not data.parts and not data.notices


def test_every_problem_is_told_with_its_place(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        corpus="a\nb\nc\td\ne\u00e9\n".encode() + b"\xff\xfe\n",
        train="q\ta\nq\n \ta\n",
        dev="s\tnowhere\nq\ta\n",
        dev_hard="q\ta\nx\ta\n",
        test="",
    )
    assert set(problems_of(folder)) == {
        ("corpus.tsv", 3, "wrong number of fields"),
        ("corpus.tsv", 5, "broken UTF-8"),
        ("train.tsv", 2, "wrong number of fields"),
        ("train.tsv", 3, "empty field"),
        ("dev.tsv", 1, "dev positive missing from the corpus"),
        ("dev_hard.tsv", 2, "line is no pair of dev"),
        ("test.tsv", 0, "empty file"),
    }


def test_a_message_counts_all_problems_and_shows_the_first_ones(tmp_path: Path) -> None:
    folder = write(tmp_path, corpus="a\n", train="q\ta\n" + " \ta\n" * 50 + "three\tfields\there\n")
    with pytest.raises(DataError) as caught:
        read(folder)
    message = str(caught.value)
    assert len(caught.value.problems) == 51
    assert "51 problems" in message
    assert "50 × empty field" in message
    assert "1 × wrong number of fields" in message
    assert f"{folder / 'train.tsv'}:2: empty field" in message
    assert len(message.splitlines()) < 20


def test_a_cut_gzip_file_is_told(tmp_path: Path) -> None:
    write(tmp_path, train="q\ta\n")
    whole = gzip.compress("".join(f"passage {i}\n" for i in range(1000)).encode())
    (tmp_path / "corpus.tsv.gz").write_bytes(whole[: len(whole) // 2])
    assert ("corpus.tsv.gz", "file cannot be read further") in {(f, kind) for f, _, kind in problems_of(tmp_path)}


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({"corpus": "a\n"}, "there is no file of train, dev or test"),
        ({"corpus": "", "train": "q\ta\n"}, "empty file"),
        ({"corpus": "a\n", "train": "q\n"}, "one column only"),
    ],
)
def test_what_a_data_set_cannot_do_without(tmp_path: Path, files: dict[str, str], kind: str) -> None:
    assert any(found.startswith(kind) for _, _, found in problems_of(write(tmp_path, **files)))


def test_without_a_corpus_file_the_passages_of_the_rows_are_searched_and_that_is_told(tmp_path: Path) -> None:
    data = read(write(tmp_path, train="q\ta\tb\n", dev="r\tc\n"))
    assert data.passages == ("a", "b", "c") and data.corpus_size == 3
    assert list(data.notices.values()) == [3]


def test_two_files_for_one_split_are_not_guessed_between(tmp_path: Path) -> None:
    write(tmp_path, corpus="a\n", train="q\ta\n")
    (tmp_path / "train.csv").write_text("q\ta\n")
    with pytest.raises(UserError, match=r"train\.csv and train\.tsv both exist"):
        read(tmp_path)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["finqa10k", "medquad"])
def test_real_sets_have_the_lines_their_files_have(name: str) -> None:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    inspection = inspect(folder)
    assert inspection.ok and not inspection.notices
    for stem, key in (("corpus", "corpus"), ("train", "train_pairs"), ("dev", "dev_pairs"), ("test", "test_pairs")):
        (file,) = folder.glob(f"{stem}.tsv*")
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        assert inspection.counts[key] == content.count(b"\n")


@pytest.mark.shared
def test_a_real_set_keeps_the_fingerprint_of_the_published_records() -> None:
    folder = SHARED / "medquad"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    published = Path(__file__).parents[1] / "reports" / "results" / "2026-11" / "run_ids.tsv"
    fingerprints = {line.split("\t")[1] for line in published.read_text().splitlines() if "-medquad-" in line}
    assert read(folder).fingerprint in fingerprints


def test_train_may_have_negatives_in_more_fields(tmp_path: Path) -> None:
    write(tmp_path, corpus="a\nb\nc\n", train="q\ta\tb\tc\nq\ta\td\tc\nr\tb\tc\te\n", dev="q\tc\n")
    data = read(tmp_path)
    assert named(data, "train") == [("q", ["a"]), ("r", ["b"])]
    assert named(data, "train", "negatives") == [("q", ["b", "c", "d"]), ("r", ["c", "e"])]
    assert data.corpus_size == 3, "a negative that the corpus lacks is trained on, never searched"


def test_negatives_are_in_every_line_or_in_none(tmp_path: Path) -> None:
    write(tmp_path, corpus="a\nb\n", train="q\ta\tb\nr\tb\n")
    assert problems_of(tmp_path) == [("train.tsv", 2, "wrong number of fields")]
