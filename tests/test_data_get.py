"""Making published data sets from sources: made-up ones, and the published files where they are at hand."""

from __future__ import annotations

import gzip
import lzma
import random
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError
from zipfile import ZipFile

import pytest
from tiny import bench

from bench.data import DataConfig, load
from bench.data import get as getting
from bench.data.get import FILES, digest, get, order, ordered
from bench.data.sources import SOURCES, clean
from bench.errors import UserError

QUESTIONS = "question,answer,context,ticker,filing\n"


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def zipped(path: Path, files: dict[str, str | bytes]) -> Path:
    with ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def known(monkeypatch: pytest.MonkeyPatch, *test: str) -> None:
    """Let the published files have few lines, ``test`` being those of the test split."""
    corpus = ["three", "one two", *(line.partition("\t")[2] for line in test)]
    told = {"train": ["a b?\tone two"], "dev": ["c?\tthree"], "test": list(test), "corpus": corpus}
    digests = {file: [digest(line) for line in told[file]] for file in FILES}
    monkeypatch.setattr(getting, "order", lambda name: digests)


def test_csv_becomes_the_known_lines_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "source.csv", tmp_path / "out"
    rows = ['c?,x,"three",T,F', "not known?,x,five,T,F", '"a\n b?",x,"one\t\ttwo ",T,F', "d?,x,four,T,F"]
    source.write_text(QUESTIONS + "\n".join(rows) + "\n", encoding="utf-8")
    words = ("data", "get", "finqa10k", "--source", str(source), "--out", str(out))
    known(monkeypatch, "gone?\tsix")
    assert bench(*words) == 2 and not out.exists()
    assert "has no line of the published test.tsv of finqa10k" in capsys.readouterr().err
    known(monkeypatch, "gone?\tsix", "d?\tfour")
    assert bench(*words) == 0
    assert "NOT the data of the published pages: 2 of its lines are not in" in capsys.readouterr().err
    assert lines(out / "train.tsv") == ["a b?\tone two"] and lines(out / "test.tsv") == ["d?\tfour"]
    assert lines(out / "corpus.tsv") == ["three", "one two", "four"]
    again = ("data", "get", "finqa10k", "--source", str(source), "--out", str(tmp_path / "again"))
    whole = replace(SOURCES["finqa10k"], fingerprint=load(DataConfig(str(out))).fingerprint)
    monkeypatch.setitem(SOURCES, "finqa10k", whole)
    known(monkeypatch, "d?\tfour")
    assert bench(*again) == 0
    assert "This is the data of the published pages" in capsys.readouterr().out


def test_order_is_restored_and_what_is_missing_is_counted() -> None:
    pairs = [f"q{n}\tp{n % 7}" for n in range(20)]
    files = {"train": pairs[:10], "dev": pairs[10:15], "test": pairs[15:], "corpus": [f"p{n}" for n in range(7)]}
    known = {file: [digest(line) for line in of] for file, of in files.items()}
    assert ordered(random.Random(0).sample(pairs, 20), known) == (files, 0)
    found, missing = ordered(pairs[:-1], known)
    assert missing == 1 and found["test"] == pairs[15:19] and found["train"] == files["train"]


def test_medquad_s_xml(tmp_path: Path) -> None:
    pair = "<QAPair pid='1'><Question>What is\n X ?</Question><Answer>{}</Answer></QAPair>"
    long = " ".join(["word"] * 400)
    pairs = "".join(
        pair.format(answer) for answer in ("  An answer of\tsome length &amp; more.", "too short", "", long)
    )
    source = zipped(tmp_path / "m.zip", {"M-1/1_X/1.xml": f"<Document><QAPairs>{pairs}</QAPairs></Document>"})
    found = list(SOURCES["medquad"].pairs(source))
    assert [pair.query for pair in found] == ["What is X ?"] * 2
    assert found[0].passage == "An answer of some length & more."
    assert found[1].passage == " ".join(["word"] * 240)  # 1,200 characters less the last space


def test_arxiv_s_tables(tmp_path: Path) -> None:
    abstract = " ".join(["abstract"] * 30)
    rows = [("A title", "2019-05-31", "cs.CL"), ("Later", "2019-06-01", "stat.ME"), ("Physics", "2018-01-01", "hep-th")]
    table = "title\tabstract\tcreated\tprimary_cat\n" + "".join(f"{t}\t{abstract}\t{d}\t{c}\n" for t, d, c in rows)
    table += "a TITLE!\t" + abstract + "\t2019-01-01\tcs.CL\nShort\tfew words\t2019-01-01\tcs.CL\n"
    name = "a/processed_data/20200101/per_category/cs_CL.tsv.xz"
    found = list(SOURCES["arxiv"].pairs(zipped(tmp_path / "a.zip", {name: lzma.compress(table.encode())})))
    assert [pair.query for pair in found] == ["A title", "Later"]
    assert found[0].split in ("train", "dev") and found[1].split == "test"


def test_classical_s_chapters(tmp_path: Path) -> None:
    modern = "夏天，有野蚕作茧，大如鸡蛋。\n短\n徐道立遇到了诸葛覆的丧船。\n"
    old = "夏，有野蚕成茧，大如卵。\n短\n徐道立遇到了诸葛覆的丧船。\n"  # the last is a copy
    files: dict[str, str | bytes] = {}
    for book, extra in (("左传", ""), ("旧唐书", "又")):
        files[f"C/{book}/一/target.txt"] = modern.replace("夏天", f"{extra}夏天")
        files[f"C/{book}/一/source.txt"] = old.replace("夏，", f"{extra}夏，")
    found = list(SOURCES["classical"].pairs(zipped(tmp_path / "c.zip", files)))
    assert sorted((pair.split == "test", pair.passage) for pair in found) == [
        (False, "又夏，有野蚕成茧，大如卵。"),
        (True, "夏，有野蚕成茧，大如卵。"),
    ]


def test_another_split_of_the_source_is_said_to_be_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    letters = [chr(0x4E00 + n) for n in range(2000)]
    rng = random.Random(0)
    texts = [("".join(rng.sample(letters, 12)), "".join(rng.sample(letters, 9))) for _ in range(300)]
    files: dict[str, str | bytes] = {}
    for book, of in (("左传", texts[:30]), ("史记", texts[30:])):
        files[f"C/{book}/target.txt"] = "\n".join(modern for modern, _ in of)
        files[f"C/{book}/source.txt"] = "\n".join(old for _, old in of)
    out = tmp_path / "out"
    source = zipped(tmp_path / "c.zip", files)
    assert bench("data", "get", "classical", "--source", str(source), "--out", str(out)) == 0
    told = capsys.readouterr()
    assert "another split of the same source" in told.err and "licence: MIT" in told.out
    data = load(DataConfig(str(out)))
    assert len(data.splits["test"]) == 30 and data.corpus_size == 300
    assert bench("data", "get", "classical", "--source", str(source), "--out", str(out)) == 2
    assert "is not empty" in capsys.readouterr().err


def test_without_a_network_it_names_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unreachable(url: str, timeout: float) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(getting, "urlopen", unreachable)
    assert bench("data", "get", "medquad", "--out", str(tmp_path / "out")) == 2
    told = capsys.readouterr().err
    assert "abachaa/MedQuAD (no route to host)" in told and "--source" in told and "://" not in told
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("name", "content"), [("medquad", "no zip"), ("finqa10k", "a,b\n1,2\n"), ("classical", "")])
def test_a_source_of_another_form_is_refused(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / "source").write_text(content)
    with pytest.raises(UserError, match=f"is not the source of {name}"):
        get(name, tmp_path / "out", tmp_path / "source")
    with pytest.raises(UserError, match=r"no data set 'medqad'.*medquad"):
        get("medqad", tmp_path / "out")


def test_texts_are_normalised() -> None:
    assert clean(" a\tb\x00c\n  d\u00a0e ") == "a b c d e"
    assert clean("e\u0301") == "\u00e9"


@pytest.mark.parametrize("name", [name for name, public in SOURCES.items() if public.ordered])
def test_the_order_of_the_published_files_is_kept(name: str) -> None:
    known = order(name)
    assert all(len(set(keys)) == len(keys) > 900 for keys in known.values())


@pytest.mark.shared
@pytest.mark.parametrize("name", [name for name, public in SOURCES.items() if public.ordered])
def test_from_the_same_texts_in_any_order_the_published_files_are_made(name: str, tmp_path: Path) -> None:
    place = Path(__file__).parents[2] / "shared" / "data" / name
    if not place.is_dir():
        pytest.skip(f"no {place}")
    found = {file: next(place.glob(f"{file}.tsv*")).read_bytes() for file in FILES}
    zipped = {file: content[:2] == b"\x1f\x8b" for file, content in found.items()}
    texts = {
        file: (gzip.decompress(content) if zipped[file] else content).decode().split("\n")[:-1]
        for file, content in found.items()
    }
    lone = [f"\t{passage}" for passage in texts["corpus"]]
    pairs = [*texts["train"], *texts["dev"], *texts["test"], *lone]
    files, missing = ordered(random.Random(0).sample(pairs, len(pairs)), order(name))
    assert missing == 0
    for file, of in files.items():
        (tmp_path / f"{file}.tsv").write_text("".join(f"{line}\n" for line in of), encoding="utf-8")
    assert load(DataConfig(str(tmp_path))).fingerprint == SOURCES[name].fingerprint
