"""Pairs of texts' own sentences: the similarity as loops, splitting, cleaning, what is written, and that it trains."""

from __future__ import annotations

import gzip
import io
import random
import sys
from collections import Counter
from itertools import combinations, permutations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import WORDS, bench, words_for
from toys import plainly

from bench.data import DataConfig, load
from bench.data.pseudo_pairs import MOST_CHARACTERS, MOST_SENTENCES, documents, sided, similar
from bench.data.sentences import fault, sentences, units
from bench.data.sources import by_hash

TEXTS = st.lists(st.lists(st.sampled_from("abcde"), max_size=7), max_size=8)


@plainly
@given(TEXTS, st.sampled_from([0.2, 0.5, 0.6, 1.0]))
def test_the_similarity_is_shared_over_all_occurrences_of_units(of: list[list[str]], threshold: float) -> None:
    expected = []
    for (i, a), (j, b) in combinations(enumerate(of), 2):
        letters = {*a, *b}
        shared = sum(min(a.count(u), b.count(u)) for u in letters)
        if shared and shared / sum(max(a.count(u), b.count(u)) for u in letters) >= threshold:
            expected.append((shared / sum(max(a.count(u), b.count(u)) for u in letters), i, j))
    found = similar(of, threshold)
    assert sorted(found) == sorted(expected)
    assert [value for value, *_ in found] == sorted((value for value, *_ in found), reverse=True)


def test_chinese_counts_by_character_and_other_scripts_by_word() -> None:
    assert units("广州和深圳,哪个好?") == list("广州和深圳哪个好")
    assert units("Is GPT-4 better?") == ["is", "gpt", "4", "better"]
    assert units("用ＢＥＲＴ编码2次") == ["用", "bert", "编", "码", "2", "次"]
    assert units("はい、Ёлка") == ["は", "い", "ёлка"]


@plainly
@given(TEXTS)
def test_no_sentence_is_both_query_and_passage_and_the_most_similar_pairs_stay(of: list[list[str]]) -> None:
    pairs = similar(of, 0.3)
    found = list(sided(pairs))
    assert {a for a, _ in found}.isdisjoint({b for _, b in found})
    assert len(set(found)) == len(found)
    assert {frozenset(pair) for pair in found} <= {frozenset(pair) for _, *pair in pairs}
    left_out = [pair for _, *pair in pairs if frozenset(pair) not in {frozenset(kept) for kept in found}]
    queries = {a for a, _ in found}
    assert all((a in queries) == (b in queries) for a, b in left_out)
    if pairs:
        assert found[0] == pairs[0][1:]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("今天下雨。你带伞了吗?带了!", ["今天下雨。", "你带伞了吗?带了!"]),
        ("今天下雨。你带伞了吗？“带了！”他说……", ["今天下雨。", "你带伞了吗？", "“带了！”", "他说……"]),
        ("It rains. Take 3.5 coats (two)? Yes!", ["It rains.", "Take 3.5 coats (two)?", "Yes!"]),
        (
            "Dr. J. R. Smith of the U.S. Army left. He said so.",
            ["Dr. J. R. Smith of the U.S. Army left.", "He said so."],
        ),
        ("See e.g. the notes etc. and so on.", ["See e.g. the notes etc. and so on."]),
        ('"It rains." "So what?" she said.', ['"It rains."', '"So what?" she said.']),
        ("A title\nIts   text\tgoes on", ["A title", "Its text goes on"]),
        ("<p>One <b>bold</b> word</p><p>Two &amp; three<br/>four</p>", ["One bold word", "Two & three", "four"]),
        ("<script>var a = 1. B;</script><!-- Not. This -->Seen[12] text", ["Seen text"]),
        ("zero\u200bwidth and\u00a0soft\u00ad hyphen\x07", ["zerowidth and soft hyphen"]),
        (" \n\n ", []),
    ],
)
def test_where_sentences_end_and_what_is_no_text(document: str, expected: list[str]) -> None:
    assert list(sentences(document)) == expected


@pytest.mark.parametrize(
    ("sentence", "reason"),
    [
        ("A sentence of six plain words.", None),
        ("这是一个普通的句子。", None),
        ("Look at https://example.org for all the rest.", "an address (URL or e-mail)"),
        ("Write to someone@example.org for all the rest.", "an address (URL or e-mail)"),
        ("The {{citation}} of this is not here.", "markup"),
        ("A [[link|text]] stands here in the sentence.", "markup"),
        ("Far too short here.", "fewer than 5 Chinese characters or words"),
        ("太短了。", "fewer than 5 Chinese characters or words"),
        ("长" * 65, "more than 64 Chinese characters or words"),
        ("word " * 65, "more than 64 Chinese characters or words"),
        ("2,019 3,110 (12.5 %) 17 a 1998", "mostly digits and punctuation"),
    ],
)
def test_the_rules_of_the_cleaner(sentence: str, reason: str | None) -> None:
    assert fault(sentence, units(sentence)) == reason


def test_documents_are_lines_or_separated_by_blank_ones_and_of_bounded_size() -> None:
    lines = ["a", "b", "", " ", "c"]
    assert list(documents(lines, True, Counter())) == ["a", "b", "c"]
    assert list(documents(lines, False, Counter())) == ["a\nb", "c"]
    told = Counter[str]()
    (only,) = documents(["x" * 1000] * 1000, False, told)
    assert len(only) == MOST_CHARACTERS and list(told.values()) == [1]


def texts(n: int = 400) -> list[str]:
    """Documents of five sentences, of which two pairs say the same in other words; the last is none's like."""
    rng = random.Random(0)
    found = []
    for number in range(n):
        first, second, other = (rng.sample(WORDS, 7) for _ in range(3))
        alike = [" ".join([*words[:6], f"{words[0]}{number}"]) for words in (first, second)]
        changed = [" ".join([*words[1:6], words[0], words[6]]) for words in (first, second)]
        five = [alike[0], alike[1], changed[0], " ".join([*other, f"alone{number}"]), changed[1]]
        found.append(" ".join(f"{sentence.capitalize()}." for sentence in five))
    return found


def made(tmp_path: Path, *words: str, name: str = "out") -> Path:
    assert bench("data", "pairs", *words, "--out", str(tmp_path / name)) == 0
    return tmp_path / name


def files(path: Path) -> dict[str, list[str]]:
    return {file.name: file.read_text(encoding="utf-8").splitlines() for file in sorted(path.iterdir())}


def test_the_data_set_is_read_and_trained_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "texts.txt"
    source.write_text("\n".join(texts()), encoding="utf-8")
    out = made(tmp_path, str(source))
    assert "800 pairs at least 0.6 similar (train " in capsys.readouterr().out
    data = load(DataConfig(str(out)))
    assert set(data.splits) == {"train", "dev", "test"}
    assert sum(len(split) for split in data.splits.values()) == 800 == data.corpus_size
    assert not data.notices, "nothing is repeated, nothing left over"
    words = words_for(out, tmp_path / "runs")
    assert bench("run", *(f"{key}={value}" for key, value in words.items())) == 0


def test_no_document_and_no_text_is_in_two_splits(tmp_path: Path) -> None:
    source = tmp_path / "texts.txt"
    repeated = [f"{text} {texts()[0]}" for text in texts(120)]  # sentences that every document has
    source.write_text("\n".join(repeated), encoding="utf-8")
    found = files(made(tmp_path, str(source)))
    of = {name: {cell for line in lines for cell in line.split("\t")} for name, lines in found.items()}
    del of["corpus.tsv"]
    assert set(of) == {"train.tsv", "dev.tsv", "test.tsv"}
    assert all(a.isdisjoint(b) for a, b in combinations(of.values(), 2))
    split_of = {text: name for name, whole in of.items() for text in whole}
    for document in repeated:
        own = {split_of[text] for text in list(sentences(document))[:5] if text in split_of}
        assert len(own) == 1
    queries = {line.split("\t")[0] for name in of for line in found[name]}
    assert queries.isdisjoint(found["corpus.tsv"]) and len(set(found["corpus.tsv"])) == len(found["corpus.tsv"])


def test_files_gzip_standard_input_and_blank_lines_give_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = texts(60)
    (tmp_path / "all.txt").write_text("\n".join(whole), encoding="utf-8")
    (tmp_path / "a.txt").write_text("\n".join(whole[:20]), encoding="utf-8")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress("\r\n".join(whole[20:]).encode()))
    (tmp_path / "blank.txt").write_text("\n\n".join(whole), encoding="utf-8")
    expected = files(made(tmp_path, str(tmp_path / "all.txt"), name="1"))
    assert files(made(tmp_path, str(tmp_path / "all.txt"), name="2")) == expected
    assert files(made(tmp_path, str(tmp_path / "a.txt"), str(tmp_path / "b.txt.gz"), name="3")) == expected
    assert files(made(tmp_path, str(tmp_path / "blank.txt"), "--document", "blank", name="4")) == expected
    for name, content in (("5", (tmp_path / "all.txt").read_bytes()), ("6", gzip.compress("\n".join(whole).encode()))):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(content))))  # type: ignore[arg-type]
        assert files(made(tmp_path, "-", name=name)) == expected


def test_the_order_of_documents_changes_no_pair(tmp_path: Path) -> None:
    found = []
    for name, whole in (("1", texts(60)), ("2", texts(60)[::-1])):
        source = tmp_path / f"{name}.txt"
        source.write_text("\n".join(whole), encoding="utf-8")
        out = files(made(tmp_path, str(source), name=name))
        found.append({file: sorted(rows) for file, rows in out.items()})
    assert found[0] == found[1]


def test_what_is_left_out_is_counted_by_its_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "texts.txt"
    bad = "Too short. See www.example.org for all of the rest. The {{template}} of this is not here. "
    first = next(sentences(texts()[0]))
    source.write_text("\n".join([*texts(), bad + first, bad + first.upper()]), encoding="utf-8")
    made(tmp_path, str(source))
    told = capsys.readouterr().out
    for line in (
        "2 sentences: fewer than 5 Chinese",
        "2 sentences: an address",
        "2 sentences: markup",
        "2 sentences: repeated, but for case and punctuation",
        "from 402 documents with 2,008 sentences",
    ):
        assert line in told


def test_of_a_long_document_the_first_sentences_are_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = [" ".join(words) for words in permutations(WORDS[:7])][: MOST_SENTENCES + 10]
    while by_hash("\n".join(chosen)) != "train":
        chosen.append(chosen.pop(0))
    source = tmp_path / "texts.txt"
    source.write_text("\n".join(chosen), encoding="utf-8")
    out = made(tmp_path, str(source), "--document", "blank")
    assert "10 sentences: after the first 1,000 of a document" in capsys.readouterr().out
    used = {cell for line in files(out)["train.tsv"] for cell in line.split("\t")}
    assert used == set(chosen[:MOST_SENTENCES]), "all have the same words"


@pytest.mark.parametrize(
    ("content", "words", "message"),
    [
        (b"", (), "empty file"),
        (None, (), "does not exist"),
        (b"PK\x03\x04", (), "is no text file: a zip archive"),
        ("今天下雨了。".encode("gbk") * 9 + b"\n" + "我们不出门。".encode("gbk") * 9, (), "is not UTF-8"),
        (b"One two three four five six.\n", (), "no two sentences of a document are 0.6 similar, in 1 documents"),
        (b"A line.\n", ("--threshold", "0"), "--threshold 0 is no similarity"),
        (b"A line.\n", ("--threshold", "1.5"), "--threshold 1.5 is no similarity"),
    ],
)
def test_bad_input_is_one_message_and_leaves_nothing(
    content: bytes | None, words: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, place = tmp_path / "texts.txt", tmp_path / "place"
    place.mkdir()
    if content is not None:
        source.write_bytes(content)
    assert bench("data", "pairs", str(source), "--out", str(place / "out"), *words) == 2
    assert message in capsys.readouterr().err
    assert not list(place.iterdir())


def test_a_directory_with_something_in_it_is_left_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "texts.txt"
    source.write_text("\n".join(texts(60)), encoding="utf-8")
    out = made(tmp_path, str(source))
    before = files(out)
    assert bench("data", "pairs", str(source), "--out", str(out)) == 2
    assert "is not empty; give another --out" in capsys.readouterr().err
    assert bench("data", "pairs", str(source), "--out", str(source)) == 2
    assert "is a file" in capsys.readouterr().err
    assert files(out) == before
    assert bench("data", "pairs", "-", "-", "--out", str(tmp_path / "new")) == 2
    assert "can be read once" in capsys.readouterr().err
