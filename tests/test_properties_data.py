"""Properties of the readers, over generated files: a data set, or an error that the person can mend."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data import DataConfig, DataSet, load
from bench.errors import UserError

NAMES = ("train.tsv", "dev.tsv", "test.tsv", "corpus.tsv", "train.jsonl", "corpus.jsonl", "queries.jsonl")
QRELS = ("qrels/train.tsv", "qrels/test.tsv")
KEYS = ("query", "pos", "neg", "_id", "id", "text", "title", "anchor", "positive", "negative", "score", "label")

odd = ["", " ", '"', "\ufeff", "\x85", "名"]
words = st.sampled_from(["a", "b", "a b", "0", "1", "-1", "1.5", "d1", "q1", "query-id", *odd])
field = words | st.text(max_size=5)
rows = st.lists(st.lists(field, max_size=4).map("\t".join), max_size=6).map("\n".join)
objects = st.dictionaries(
    st.sampled_from(KEYS), st.one_of(field, st.lists(field, max_size=3), st.none(), st.integers()), max_size=4
)
lines = st.lists(st.one_of(objects.map(json.dumps), field), max_size=6).map("\n".join)
content = st.one_of(
    st.tuples(rows | lines, st.sampled_from(["", "\n", "\r\n", "\n\n"])).map(lambda of: "".join(of).encode()),
    st.binary(max_size=40),
)
files = st.dictionaries(st.sampled_from(NAMES + QRELS), content, min_size=1, max_size=5)


def read(name: Path) -> None:
    try:
        found = load(DataConfig(name=str(name)))
    except UserError as error:
        assert str(error)
        return
    assert isinstance(found, DataSet) and found.fingerprint


@settings(max_examples=250, deadline=None, derandomize=True)
@given(files)
def test_any_files_are_a_data_set_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    place = tmp_path_factory.getbasetemp() / "generated"
    shutil.rmtree(place, ignore_errors=True)
    for name, content in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    read(place)
    for name in ("train.jsonl", "train.tsv"):
        if name in files:
            read(place / name)
