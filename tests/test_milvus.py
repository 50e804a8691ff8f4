"""The corpus of a run in Milvus: every passage once, also after a kill, recall there, search, and what is refused."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import PASSAGES, bench, words_for, write_data

from bench.data.load import DataConfig, load
from bench.progress import Display
from bench.use.corpus import Corpus
from bench.use.embedder import Embedder
from bench.use.weights import run_of, settings_of

pytest.importorskip("pymilvus", reason="the extra milvus is not installed")
pytest.importorskip("milvus_lite", reason="the extra milvus is not installed")

from milvus_lite.adapter.grpc.server import start_server_in_thread
from pymilvus import MilvusClient
from pymilvus.milvus_client.index import IndexParams

from bench.use.milvus import MOST_BYTES, MilvusStore, _cut

KILLED = """
import os, signal, sys
import pymilvus
from bench.cli import main
from bench.use import milvus

milvus.BATCH = 7
upsert, calls = pymilvus.MilvusClient.upsert, []

def third(self, *given, **named):
    calls.append(given)
    told = upsert(self, *given, **named)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return told

pymilvus.MilvusClient.upsert = third
main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with two runs, of one data set and of two seeds."""
    place = tmp_path_factory.mktemp("milvus")
    words = words_for(write_data(place / "data"), place / "runs") | {"eval.untrained": "false"}
    for seed in ("1", "2"):
        assert bench("run", *(f"{key}={value}" for key, value in words.items()), f"seed={seed}") == 0
    return place / "runs"


@pytest.fixture(scope="module")
def run(runs: Path) -> Path:
    (found,) = runs.glob("in_batch-*-s1-*")
    return found


@pytest.fixture(scope="module")
def corpus(run: Path) -> Corpus:
    embedder = Embedder.load(settings_of(run), "cpu", "fp32")
    found = run_of(run)
    assert found is not None
    with Display() as display:
        return Corpus.of_run(found, embedder, display, 1)


@pytest.fixture(scope="module")
def full(runs: Path, run: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with the corpus of ``run``."""
    to = f"milvus://{tmp_path_factory.mktemp('store') / 'corpus.db'}"
    assert index(runs, run, to, "--no-check") == 0
    return to


def index(runs: Path, run: Path, to: str, *words: str) -> int:
    return bench("index", run.name, "--to", to, "--runs-dir", str(runs), "--device", "cpu", *words)


def search(runs: Path, run: Path, to: str, *words: str) -> int:
    return bench("search", run.name, "--store", to, "--runs-dir", str(runs), "--device", "cpu", *words)


@contextmanager
def rows(to: str, name: str = "passages") -> Iterator[list[dict[str, Any]]]:
    """All rows of a collection."""
    with MilvusStore.open(to, name) as store:
        store.client.load_collection(name)
        yield store.client.query(name, filter="", limit=1000, output_fields=["*"])


def test_every_passage_is_written_once_and_with_its_place(
    runs: Path,
    run: Path,
    corpus: Corpus,
    full: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with rows(full) as found:
        assert sorted(row["id"] for row in found) == sorted(corpus.ids) and len(found) == PASSAGES
        for row in found:
            place = corpus.by_id[row["id"]]
            assert (row["place"], row["run"], row["data"]) == (place, run.name, "data")
            assert row["text"] == corpus.texts[place]
            np.testing.assert_allclose(row["vector"], corpus.vectors[place], atol=1e-7)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("everything is there")

    monkeypatch.setattr("pymilvus.MilvusClient.upsert", never)
    monkeypatch.setattr("bench.use.corpus._make", never)
    assert index(runs, run, full, "--no-check") == 0
    assert f"{PASSAGES} passages, 0 written, {PASSAGES} were there" in capsys.readouterr().out


def test_graph_and_search_have_the_settings_of_the_record(
    runs: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, asked = [], []
    add_index, search_in = IndexParams.add_index, MilvusClient.search
    monkeypatch.setattr(IndexParams, "add_index", lambda *a, **named: (made.append(named), add_index(*a, **named))[1])
    monkeypatch.setattr(MilvusClient, "search", lambda *a, **named: (asked.append(named), search_in(*a, **named))[1])
    to = f"milvus://{tmp_path / 'corpus.db'}"
    assert index(runs, run, to) == 0
    config = json.loads((run / "record.json").read_text())["config"]["index"]
    graph = {"M": config["m"], "efConstruction": config["ef_construction"]}
    assert made == [{"index_type": "HNSW", "metric_type": "IP", "params": graph}]
    assert search(runs, run, to, "kaban", "-k", "3") == search(runs, run, to, "kaban", "-k", "300") == 0
    assert [one["search_params"]["params"]["ef"] for one in asked] == [config["ef"], config["ef"], 300]
    with MilvusStore.open(to, "passages") as store:
        assert store.client.describe_index("passages", "vector")["pending_index_rows"] == 0


def test_after_a_kill_the_same_command_writes_the_rest(
    runs: Path, run: Path, corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    to = f"milvus://{tmp_path / 'corpus.db'}"
    words = ["index", run.name, "--to", to, "--runs-dir", str(runs), "--device", "cpu", "--no-check"]
    ended = subprocess.run([sys.executable, "-c", KILLED, *words], capture_output=True, check=False, timeout=120)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    assert index(runs, run, to, "--no-check") == 0
    assert f"{PASSAGES} passages, 39 written, 21 were there" in capsys.readouterr().out
    with rows(to) as found:
        assert sorted(row["id"] for row in found) == sorted(corpus.ids)


@pytest.mark.parametrize("left", [[], ["schema.json.tmp"]])
def test_a_collection_that_a_kill_left_half_made_is_made_again(
    runs: Path, run: Path, left: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "corpus.db" / "collections" / "passages"
    place.mkdir(parents=True)
    for name in left:
        (place / name).write_text("{")
    assert index(runs, run, f"milvus://{tmp_path / 'corpus.db'}", "--no-check") == 0
    assert f"{PASSAGES} passages, {PASSAGES} written" in capsys.readouterr().out


def test_rows_that_are_missing_come_back_and_others_are_refused(
    runs: Path, run: Path, corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    to = f"milvus://{tmp_path / 'corpus.db'}"
    assert index(runs, run, to, "--no-check") == 0
    with MilvusStore.open(to, "passages") as store:
        store.client.delete("passages", ids=[corpus.ids[3], corpus.ids[40]])
    assert index(runs, run, to, "--no-check") == 0
    assert "2 written, 58 were there" in capsys.readouterr().out
    with MilvusStore.open(to, "passages") as store:
        store.client.upsert("passages", [{"id": "other", "vector": corpus.vectors[0], "text": "other"}])
    assert index(runs, run, to) == 2
    assert f"has rows that are no passages of {run.name} (1); delete them" in capsys.readouterr().err


def test_recall_is_that_of_an_own_search(
    runs: Path, run: Path, corpus: Corpus, full: str, capsys: pytest.CaptureFixture[str]
) -> None:
    record = json.loads((run / "record.json").read_text())
    data = load(DataConfig(record["config"]["data"]["name"]))
    split = data.splits[record["split"]]
    asked = corpus.embedder.vectors([data.queries[q] for q in split.queries], "query")
    ranked = np.argsort(-(asked @ corpus.vectors.T), axis=1, kind="stable")
    assert index(runs, run, full) == 0
    told = {words[0]: words[1:] for line in capsys.readouterr().out.splitlines() if (words := line.split())}
    for k in (1, 5):
        hits = [
            len({*ranked[row, :k]} & {*split.relevant[row]}) / len(split.relevant[row]) for row in range(len(split))
        ]
        own = f"{100 * sum(hits) / len(hits):.2f}"
        assert told[f"recall@{k}"] == [f"{record['metrics'][f'recall@{k}']:.2f}", own, own, "+0.00"]


def test_search_in_the_store_finds_what_exact_search_finds(
    runs: Path, run: Path, corpus: Corpus, full: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [*list(corpus.queries)[:3], "kaban lodor"]
    (tmp_path / "q.txt").write_text("".join(f"{query}\n" for query in asked))
    words = ["--queries", str(tmp_path / "q.txt"), "-k", "7"]
    assert search(runs, run, full, *words) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    scores = corpus.embedder.vectors(asked, "query") @ corpus.vectors.T
    for row, one in enumerate(found):
        best = np.argsort(-scores[row], kind="stable")[:7]
        assert [hit["id"] for hit in one["hits"]] == [corpus.ids[place] for place in best]
        assert [hit["text"] for hit in one["hits"]] == [corpus.texts[place] for place in best]
        assert [hit["score"] for hit in one["hits"]] == pytest.approx(scores[row][best].tolist(), abs=1e-5)
    names = [corpus.queries[query][0] for query in asked[:3]]
    assert [one["id"] for one in found] == [*names, "4"], "a query of the data set has its id"
    assert search(runs, run, full, *words, "--format", "trec") == 0
    assert len(capsys.readouterr().out.splitlines()) == 28


def test_a_filter_narrows_the_search(
    runs: Path, run: Path, corpus: Corpus, full: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["kaban lodor", "-k", "5", "--format", "trec"]
    assert search(runs, run, full, *given, "--filter", "place >= 10 and place < 20") == 0
    places = [int(line.split()[2]) - 1 for line in capsys.readouterr().out.splitlines()]
    scores = corpus.embedder.vectors(["kaban lodor"], "query") @ corpus.vectors[10:20].T
    assert places == [10 + place for place in np.argsort(-scores[0], kind="stable")[:5]]
    assert search(runs, run, full, "kaban lodor", "--filter", "place < 0") == 0
    assert capsys.readouterr().out == ""


def test_a_server_is_used_as_a_file_is(
    runs: Path, run: Path, full: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server, database, port = start_server_in_thread(str(tmp_path / "served"), "127.0.0.1", 0)
    try:
        to = f"http://127.0.0.1:{port}"
        assert index(runs, run, to, "--no-check") == 0 and index(runs, run, to, "--no-check") == 0
        assert f"{PASSAGES} passages, 0 written" in capsys.readouterr().out
        found = []
        for place in (to, full):
            assert search(runs, run, place, "kaban lodor", "--format", "trec") == 0
            found.append(capsys.readouterr().out)
        assert found[0] == found[1] and found[0].count("\n") == 10
    finally:
        server.stop(grace=0)
        database.close()


def test_a_file_is_for_one_process(runs: Path, run: Path, full: str, capsys: pytest.CaptureFixture[str]) -> None:
    with (Path(full.removeprefix("milvus://")) / "LOCK").open() as file:
        flock(file, LOCK_EX)
        assert search(runs, run, full, "x") == 2
    assert "Open local milvus failed; another process may have it open" in capsys.readouterr().err


def test_a_long_text_is_cut_at_a_whole_character() -> None:
    text = "a" + "é" * 40_000
    assert _cut(text) == "a" + "é" * 32_767 and len(_cut(text).encode()) == MOST_BYTES
    assert _cut("é" * 32_767) == "é" * 32_767


@pytest.mark.parametrize(
    ("command", "to", "words", "message"),
    [
        ("index", "corpus.db", [], "'corpus.db' is no store: give milvus://NAME.db for a file or http://HOST:19530"),
        ("index", "milvus://.db", [], "'milvus://.db' is no store"),
        ("index", "{broken}", [], "Open local milvus failed; another process may have it open, or it is no file of"),
        ("index", "http://127.0.0.1:1", [], "http://127.0.0.1:1: Fail connecting to server on 127.0.0.1:1"),
        ("index", "http://127.0.0.1:port", [], "http://127.0.0.1:port: Port could not be cast"),
        ("index", "{full}", ["--collection", "a/b"], "invalid collection name: 'a/b'"),
        ("search", "{full}", ["x", "--collection", "none"], "has no collection 'none'; there are: passages"),
        ("search", "milvus://none.db", ["x"], "milvus://none.db: there is no such file; bench index RUN --to"),
        ("search", "{full}", ["x", "--filter", "place <<< 1"], "unexpected token '<' at column 8"),
        ("search", "{full}", ["x", "--data", "docstrings"], "give either --store or --data"),
        ("search", "{full}", [" "], "the query: line 1 is empty"),
    ],
)
def test_what_cannot_be_used_is_told_in_one_line(
    runs: Path,
    run: Path,
    full: str,
    tmp_path: Path,
    command: str,
    to: str,
    words: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "broken.db").write_text("no store")
    to = to.format(full=full, broken=f"milvus://{tmp_path / 'broken.db'}")
    capsys.readouterr()
    assert (index if command == "index" else search)(runs, run, to, *words) == 2
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1 and told.startswith("bench: ")


def test_the_collection_of_another_run_is_refused(
    runs: Path, run: Path, full: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (other,) = runs.glob("in_batch-*-s2-*")
    for use, words in ((index, []), (search, ["x"])):
        assert use(runs, other, full, *words) == 2
        assert f"has the corpus of {run.name}, not of {other.name}" in capsys.readouterr().err
    with MilvusStore.open(full, "mine") as store:
        store.client.create_collection("mine", dimension=4)
    assert index(runs, run, full, "--collection", "mine") == 2
    assert "was not made by bench index; choose another --collection" in capsys.readouterr().err


def test_a_run_with_other_weights_is_refused(
    runs: Path, run: Path, full: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bench.use.corpus.weights_digest", lambda _: "another")
    assert search(runs, run, full, "x") == 2
    assert f"has vectors of {run.name} from before its weights changed" in capsys.readouterr().err


def test_a_filter_needs_a_store_and_a_store_needs_a_run(
    runs: Path, run: Path, full: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench("search", run.name, "x", "--filter", "place < 1", "--runs-dir", str(runs)) == 2
    assert "--filter needs --store" in capsys.readouterr().err
    assert bench("search", "minilm", "x", "--store", full, "--runs-dir", str(runs)) == 2
    assert "minilm is no run; a store has the corpus of one" in capsys.readouterr().err
    assert bench("index", "minilm", "--to", full, "--runs-dir", str(runs)) == 2
    assert "minilm is no run, so it has no corpus" in capsys.readouterr().err


@pytest.mark.parametrize("package", ["pymilvus", "milvus_lite"])
def test_a_missing_package_is_told_with_what_installs_it(
    runs: Path, run: Path, full: str, package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert index(runs, run, full) == 2
    assert '`pip install -e ".[milvus]"` in the checkout of negbench' in capsys.readouterr().err


def test_the_token_is_in_no_message(
    runs: Path, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MILVUS_TOKEN", "user:secret")
    assert index(runs, run, "http://127.0.0.1:1") == 2
    told = capsys.readouterr()
    assert "secret" not in told.out + told.err
