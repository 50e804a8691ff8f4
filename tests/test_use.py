"""Using a run: its vectors, scores and hits, the saved index, and what cannot be used."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from tiny import bench, words_for, write_data, write_task

from bench.data.load import DataConfig, load
from bench.errors import UserError
from bench.use.embedder import Embedder
from bench.use.weights import run_of, settings_of

TEXTS = ["kaban lodor", "a long one: " + "mihux nufel " * 9, "kaban lodor", "pegim"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with one run of retrieval and one of sentence similarity."""
    place = tmp_path_factory.mktemp("use")
    words = words_for(write_data(place / "data"), place / "runs") | {"eval.untrained": "false"}
    assert bench("run", *(f"{key}={value}" for key, value in words.items()), "strategy=in_batch") == 0
    words |= {"data": str(write_task(place / "task")), "strategy": "cosent"}
    assert bench("run", *(f"{key}={value}" for key, value in words.items())) == 0
    return place / "runs"


@pytest.fixture(scope="module")
def run(runs: Path) -> Path:
    (found,) = runs.glob("in_batch-*")
    return found


def file_of(path: Path, lines: list[str]) -> str:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return str(path)


def use(runs: Path, command: str, *words: str) -> int:
    return bench(command, *words, "--runs-dir", str(runs), *([] if command == "index" else ["--device", "cpu"]))


def test_a_vector_is_the_same_whatever_is_beside_it(run: Path) -> None:
    embedder = Embedder.load(settings_of(run), "cpu", "fp32")
    together = embedder.vectors(TEXTS, "query")
    alone = np.concatenate([embedder.vectors([text], "query") for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert (together[0] == together[2]).all() and together.shape == (4, embedder.encoder.dim)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    with pytest.raises(UserError, match="line 2 is empty"):
        embedder.vectors(["a", " ", "b"], "query")


@pytest.mark.parametrize("kind", ["npy", "parquet", "jsonl"])
def test_embed_keeps_order_and_repetitions_in_every_format(
    runs: Path, run: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = Embedder.load(settings_of(run), "cpu", "fp32").vectors(TEXTS, "passage")
    out = tmp_path / f"v.{kind}"
    assert use(runs, "embed", run.name, "--texts", file_of(tmp_path / "t.txt", TEXTS), "--out", str(out)) == 0
    if kind == "npy":
        found = np.load(out)
    elif kind == "parquet":
        table = pq.read_table(out)
        assert table["text"].to_pylist() == TEXTS
        found = np.array(table["vector"].to_pylist(), dtype=np.float32)
    else:
        rows = [json.loads(line) for line in out.read_text().splitlines()]
        assert [row["text"] for row in rows] == TEXTS
        found = np.array([row["vector"] for row in rows], dtype=np.float32)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert capsys.readouterr().out == f"{out}\n"


def test_embed_reads_standard_input_and_prints_json(
    runs: Path, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"kaban\r\nlodor")))
    assert use(runs, "embed", str(run), "--as", "query") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["text"] for row in rows] == ["kaban", "lodor"]


def test_score_is_the_cosine_of_each_pair(
    runs: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = file_of(tmp_path / "p.tsv", ["kaban\tlodor\tignored", "lodor\tlodor", "kaban\tlodor"])
    assert use(runs, "score", run.name, "--pairs", pairs, "--as", "query,query") == 0
    scores = [float(line) for line in capsys.readouterr().out.splitlines()]
    embedder = Embedder.load(settings_of(run), "cpu", "fp32")
    u, v = embedder.vectors(["kaban", "lodor"], "query")
    assert scores == pytest.approx([float(u @ v), 1.0, float(u @ v)], abs=1e-5)


def test_search_finds_what_the_run_ranked_first(
    runs: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = load(DataConfig(json.loads((run / "record.json").read_text())["config"]["data"]["name"]))
    ranks = pq.read_table(run / "ranks.parquet").to_pylist()
    asked = [data.queries[row["query"]] for row in ranks]
    out = tmp_path / "hits.jsonl"
    words = ["--queries", file_of(tmp_path / "q.txt", asked), "-k", "5", "--out", str(out)]
    assert use(runs, "search", run.name, *words) == 0
    found = [json.loads(line) for line in out.read_text().splitlines()]
    assert [one["query"] for one in found] == asked
    for one, row in zip(found, ranks, strict=True):
        assert [hit["id"] for hit in one["hits"]] == row["passage_ids"][:5]
        assert [hit["text"] for hit in one["hits"]] == [data.passages[p] for p in row["passages"][:5]]
        assert one["id"] == row["query_id"] == str(row["query"] + 1)
        assert [hit["score"] for hit in one["hits"]] == pytest.approx(row["scores"][:5], abs=1e-5)
    capsys.readouterr()
    assert use(runs, "search", run.name, asked[0], "-k", "2", "--format", "trec") == 0
    first = found[0]["hits"][0]
    assert (
        capsys.readouterr().out.splitlines()[0] == f"{found[0]['id']} Q0 {first['id']} 1 {first['score']:.6f} negbench"
    )
    assert use(runs, "search", run.name, asked[0], "-k", "60") == 0
    told = capsys.readouterr()
    (relevant,) = (line for line in told.out.splitlines() if " * " in line)
    assert data.passages[data.splits["test"].relevant[0][0]] in relevant and "* is labelled relevant" in told.err


def test_the_second_search_neither_loads_the_data_nor_embeds_the_corpus(
    runs: Path, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert use(runs, "search", run.name, "kaban") == 0
    first = capsys.readouterr().out

    def never(*_: object) -> None:
        raise AssertionError("the index is there")

    monkeypatch.setattr("bench.use.corpus._make", never)
    assert use(runs, "search", run.name, "kaban") == 0
    assert capsys.readouterr().out == first
    assert use(runs, "search", run.name, "kaban", "-k", "1000") == 0, "an index serves any number of hits"
    assert len(capsys.readouterr().out.splitlines()) == 60


def test_no_query_on_standard_input_is_told(
    runs: Path, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert use(runs, "search", run.name) == 2
    assert "standard input has no query" in capsys.readouterr().err


def test_an_empty_line_of_standard_input_is_told(
    runs: Path, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("kaban\n\nlodor\n"))
    assert use(runs, "search", run.name, "-k", "1") == 2
    told = capsys.readouterr()
    assert "standard input: line 2 is empty" in told.err and len(told.out.splitlines()) == 1


def test_another_corpus_is_searched_with_data(
    runs: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NEGBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "pairs.tsv").write_text("kaban lodor\tmihux nufel\npegim\tlohux kagim\n")
    given = ["--data", str(tmp_path / "pairs.tsv"), "-k", "9"]
    assert use(runs, "search", str(run / "model"), "mihux nufel", *given) == 0
    assert "mihux nufel" in capsys.readouterr().out.splitlines()[0]


def test_the_best_run_of_a_study_is_found_by_its_name(runs: Path, tmp_path: Path) -> None:
    given = words_for(runs.parent / "data", tmp_path / "runs") | {"keep": "all", "budget.steps": "2"}
    words = [f"{key}={value}" for key, value in given.items() if key not in ("train.max_steps", "train.epochs")]
    assert bench("study", "negatives", *words, "seeds=1") == 0
    (study,) = (tmp_path / "runs").glob("studies/*")
    told = json.loads((study / "study.json").read_text())["comparison"]
    best = run_of("study:negatives", tmp_path / "runs")
    assert best is not None and best.model.is_dir()
    means = {row["commands"][0]: row["metrics"][told["metric"]]["mean"] for row in told["rows"]}
    assert means[best.read_record().command] == max(means.values())
    assert run_of(f"study:{study.name}", tmp_path / "runs") == best


@pytest.mark.parametrize(
    ("command", "words", "message"),
    [
        ("embed", ["nowhere", "--texts", "{texts}"], "no preset and no directory called"),
        ("embed", ["{run}", "--out", "v.csv"], r"--out v.csv: the name must end in .npy, .parquet, .jsonl"),
        ("embed", ["{run}", "--texts", "missing.txt"], "--texts missing.txt: No such file or directory"),
        ("score", ["{run}", "--pairs", "{texts}"], "line 1 is no pair of two texts with a TAB"),
        ("embed", ["{run}", "--texts", "{texts}", "--precision", "fp99"], "precision='fp99' is not one of"),
        ("score", ["{run}", "--as", "query"], "--as query: give two of query and passage"),
        ("search", ["{run}", "kaban", "--queries", "x"], "either a query or --queries"),
        ("search", ["{run}", " "], "the query: line 1 is empty"),
        ("search", ["{run}", "kaban", "-k", "0"], "-k=0 must be at least 1"),
        ("search", ["minilm", "kaban"], "minilm is no run, so it has no corpus; give one as --data DATA"),
        ("search", ["{cosent}", "kaban"], "has no corpus to search; give one as --data"),
        ("search", ["study:none", "kaban"], "study:none names no studies in"),
    ],
)
def test_what_cannot_be_used_is_told_in_one_line(
    runs: Path,
    run: Path,
    tmp_path: Path,
    command: str,
    words: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (cosent,) = runs.glob("cosent-*")
    known = {"run": str(run), "cosent": str(cosent), "texts": file_of(tmp_path / "t.txt", TEXTS)}
    assert use(runs, command, *(word.format(**known) for word in words)) == 2
    told = capsys.readouterr().err
    assert message.replace("\\", "") in told and "Traceback" not in told


def test_data_that_has_changed_is_not_searched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = write_data(tmp_path / "data")
    words = words_for(place, tmp_path / "runs") | {"eval.untrained": "false"}
    assert bench("run", *(f"{key}={value}" for key, value in words.items())) == 0
    (run,) = (tmp_path / "runs").glob("in_batch-*")
    with (place / "corpus.tsv").open("a") as file:
        file.write("one more\n")
    assert use(tmp_path / "runs", "search", run.name, "kaban") == 2
    assert "has changed since" in capsys.readouterr().err
    assert not (run / "index").exists() or not list((run / "index").glob("index-*"))


def test_ids_of_the_source_come_back(tmp_path: Path) -> None:
    place = tmp_path / "beir"
    (place / "qrels").mkdir(parents=True)
    rows = [{"_id": f"doc-{n}", "title": "", "text": f"passage {n}"} for n in range(4)]
    (place / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = [{"_id": f"q-{n}", "text": f"query {n}"} for n in range(3)]
    (place / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    (place / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq-2\tdoc-3\t1\nq-0\tdoc-1\t1\n")
    data = load(DataConfig(str(place)))
    assert [data.passage_name(p) for p in range(4)] == ["doc-0", "doc-1", "doc-2", "doc-3"]
    assert [data.query_name(q) for q in range(len(data.queries))] == ["q-2", "q-0"]
    small = load(DataConfig(str(place), max_corpus=2))
    names = {small.passages[p]: small.passage_name(p) for p in range(small.corpus_size)}
    assert names == {"passage 1": "doc-1", "passage 3": "doc-3"}
    assert [small.query_name(q) for q in range(len(small.queries))] == ["q-2", "q-0"]


def test_an_entry_of_a_plain_corpus_has_its_line_as_id(tmp_path: Path) -> None:
    place = write_data(tmp_path / "data")
    lines = (place / "corpus.tsv").read_text().splitlines()
    (place / "corpus.tsv").write_text("\n".join([lines[0], *lines]) + "\n")
    data = load(DataConfig(str(place)))
    assert [data.passage_name(p) for p in (0, 1, 2)] == ["1", "3", "4"], "the second line repeats the first"
