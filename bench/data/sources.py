"""The data sets of the published pages: the public repository of each, and how its files become pairs."""

from __future__ import annotations

import csv
import hashlib
import io
import lzma
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree
from zipfile import ZipFile

from bench.data.docstrings import cut

csv.field_size_limit(1 << 24)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HELD_OUT = 0.1  # of the pairs to dev, and as many to test, where the published split is not known
_TEST_BOOKS = {
    *("徐霞客游记", "论衡", "水经注", "世说新语", "黄帝内经", "孟子", "天工开物", "山海经"),
    *("国语", "左传", "庄子", "容斋随笔", "搜神记", "荀子", "笑林广记", "伤寒论"),
}


@dataclass(frozen=True)
class Pair:
    """A query, its passage, and the split that they belong to by the data set's own rule, if it has one."""

    query: str
    passage: str
    split: str | None = None


@dataclass(frozen=True)
class PublicSource:
    """A public repository at a ``commit``, and what makes pairs of it.

    ``file`` is the one file that is needed; without it the whole repository is. ``fingerprint`` is that of the data of
    the published pages. Where ``ordered``, the order of its lines is known and the same files can be made again.
    """

    repository: str
    commit: str
    licence: str
    pairs: Callable[[Path], Iterator[Pair]]
    fingerprint: str
    ordered: bool
    file: str | None = None

    @property
    def url(self) -> str:
        """Where the file, or the repository as a zip file, is had."""
        if self.file is not None:
            return f"https://raw.githubusercontent.com/{self.repository}/{self.commit}/{self.file}"
        return f"https://github.com/{self.repository}/archive/{self.commit}.zip"


def clean(text: str) -> str:
    """The text in NFC, with control characters as spaces and white space joined."""
    return " ".join(_CONTROL.sub(" ", unicodedata.normalize("NFC", text)).split())


def members(source: Path, pattern: str) -> Iterator[tuple[Path, bytes]]:
    """Path and content of every file that fits ``pattern``, in a directory or a zip file, in order."""
    if source.is_dir():
        for path in sorted(source.glob(f"**/{pattern}")):
            yield path.relative_to(source), path.read_bytes()
        return
    with ZipFile(source) as archive:
        for name in sorted(archive.namelist()):
            if Path(name).match(pattern):
                yield Path(name), archive.read(name)


def by_hash(text: str) -> str:
    """A split that only the text decides: a tenth dev, a tenth test, the rest train."""
    share = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64
    return "dev" if share < _HELD_OUT else "test" if share < 2 * _HELD_OUT else "train"


def medquad(source: Path) -> Iterator[Pair]:
    """Questions and answers of the XML files; answers under 20 characters are left out, long ones are cut."""
    for _, content in members(source, "*.xml"):
        for pair in ElementTree.fromstring(content).iter("QAPair"):
            question, answer = (clean(pair.findtext(tag) or "") for tag in ("Question", "Answer"))
            if question and len(answer) >= 20:
                yield Pair(question, cut(answer, 1200))


def finqa10k(source: Path) -> Iterator[Pair]:
    """Questions and contexts of the CSV file."""
    with source.open(encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file):
            yield Pair(clean(row["question"]), clean(row["context"]))


def arxiv(source: Path) -> Iterator[Pair]:
    """Titles and abstracts of the category files of up to 4 MiB; papers from June 2019 on are test."""
    kept = re.compile(r"(cs|stat|eess|q-bio|q-fin|econ)\.|cmp-lg")
    seen: set[str] = set()
    for _, content in members(source, "processed_data/20200101/per_category/*.tsv.xz"):
        if len(content) > 4 << 20:
            continue
        for row in csv.DictReader(io.StringIO(lzma.decompress(content).decode()), delimiter="\t"):
            title, abstract = clean(row["title"]), clean(row["abstract"])
            key = re.sub(r"\W", "", title).casefold()
            withdrawn = "withdrawn" in abstract.casefold()[:200]
            if key in seen or len(abstract) < 150 or withdrawn or not kept.match(row["primary_cat"]):
                continue
            seen.add(key)
            dev = by_hash(title) != "train"
            yield Pair(title, cut(abstract, 480), "test" if row["created"] >= "2019-06" else "dev" if dev else "train")


def classical(source: Path) -> Iterator[Pair]:
    """Modern and classical sentences of the chapters, line by line; sixteen books are test."""
    modern = {path.parent: content for path, content in members(source, "target.txt")}
    seen: set[str] = set()
    for path, content in members(source, "source.txt"):
        if path.parent not in modern:
            continue
        left, right = (clean_lines(text) for text in (modern[path.parent], content))
        book = next((part for part in path.parts if part in _TEST_BOOKS), None)
        for query, passage in zip(left, right, strict=False):
            if _fits(query, passage) and not {query, passage} & seen:
                seen |= {query, passage}
                split = by_hash(query)
                yield Pair(query, passage, "test" if book else "dev" if split == "dev" else "train")


def clean_lines(content: bytes) -> list[str]:
    """The lines of a text file, each cleaned."""
    return [clean(line) for line in content.decode("utf-8-sig").splitlines()]


def _fits(modern: str, classical: str) -> bool:
    """Whether two sentences are a translation worth training on: their lengths, and how much they share."""
    plain, old = (re.sub(r"\W", "", text) for text in (modern, classical))
    if not (8 <= len(plain) <= 120 and 6 <= len(old) <= 100 and 0.6 <= len(plain) / len(old) <= 4):
        return False
    return sum(letter in plain for letter in old) <= 0.9 * len(old)


SOURCES = {
    "medquad": PublicSource(
        "abachaa/MedQuAD",
        "577bd37b96c02d1833b2c9eed2de9f96964e96cb",
        "CC BY 4.0",
        medquad,
        "c25fcc3a0ed42a2b990521f7a231fe1d9f9fae917aab76d451c09a46afe6d66e",
        ordered=True,
    ),
    "finqa10k": PublicSource(
        "ushashwat/Financial-QA-LLM",
        "d22e389b19efd8d4a1a3f6ad71a5cc5c85cac338",
        "none stated; the passages are from public SEC filings",
        finqa10k,
        "c423780a189cf6d5aed6db9f922e33541d026caa0ae482d649229e6e2844beb2",
        ordered=True,
        file="data/Financial-QA-10k.csv",
    ),
    "arxiv": PublicSource(
        "staeiou/arxiv_archive",
        "f043eb1d71da6ed2fb9eac63ab8707359ff606ea",
        "none stated; arXiv gives titles and abstracts under CC0 1.0",
        arxiv,
        "9307816a4fed5d1ca422b34f97643ed79423badbbcc1f4f68ecd20d2970e1627",
        ordered=False,
    ),
    "classical": PublicSource(
        "NiuTrans/Classical-Modern",
        "4e746ea9fa99c3c0d7051c45397330bef7b0962d",
        "MIT",
        classical,
        "d4199980274a9e4294b4eb17c44d4c13af7a85bdb090bd0090a31a90a9ba1e30",
        ordered=False,
    ),
}
"""The data sets by name."""
