"""Exports: the vectors of both targets, the model card, what a quantised model loses, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from shutil import copytree
from types import ModuleType

import numpy as np
import pytest
import torch
from tiny import bench, words_for, write_data
from toys import CPU, DATA, toy_encoder

from bench.data.tokens import tokenize
from bench.errors import UserError
from bench.model.config import POOLINGS, EncoderConfig
from bench.model.embedding import encode
from bench.model.encoder import Encoder
from bench.model.files import save
from bench.model.post import fitted
from bench.model.presets import build
from bench.use.embedder import Embedder
from bench.use.weights import settings_of

TEXTS = [*DATA.queries[:5], " ".join(DATA.queries[:9]), *DATA.passages[:3], DATA.queries[0]]
SHAPES = [(1, 3), (1, 16), (2, 9), (5, 4), (7, 16)]
needs_onnx = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")),
    reason="the extra onnx is not installed",
)


def encoder(**config: object) -> Encoder:
    """A toy encoder none of whose weights is where it started."""
    made = toy_encoder(DATA, dropout=0.0, **config).eval()
    torch.manual_seed(1)
    for parameter in made.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.1)
    return made


def whitened() -> Encoder:
    """A toy encoder with prefixes, a projection to 12 values and a whitening to 8."""
    made = encoder(output_dim=12, query_prefix="kaban: ", passage_prefix="lodor mi ")
    made.config = replace(made.config, max_query_tokens=9)
    raw = encode(made, tokenize(DATA.passages, made.tokenizer, 16), "fp32", raw=True)
    return made.followed_by(fitted("whitening-8", raw)).eval()


def joined() -> Encoder:
    """A toy encoder of three poolings, whose vectors are cut to 50 values."""
    made = encoder(pooling="weightedmean+max+lasttoken")
    cut = Encoder(made.transformer, made.tokenizer, replace(made.config, layers=None), truncate_dim=50).eval()
    cut.packs, cut.narrows = made.packs, made.narrows
    return cut


MADE = {"whitened": whitened, "joined": joined, "pooler": partial(encoder, pooling="pooler")}


def padded(shape: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and their mask: texts of different lengths, one of them full."""
    rng = np.random.default_rng(0)
    lengths = np.maximum(1, shape[1] - np.arange(shape[0]) * 2)
    ids = torch.from_numpy(rng.integers(5, 100, shape))
    return ids, torch.from_numpy((np.arange(shape[1]) < lengths[:, None]).astype(np.int64))


def alone(made: Encoder, ids: torch.Tensor, mask: torch.Tensor) -> np.ndarray:
    """The vectors of an encoder, each text by itself and without padding."""
    from bench.model.packing import Packed

    rows = [row[: int(real.sum())] for row, real in zip(ids, mask, strict=True)]
    packed = [Packed(row, np.array([len(row)]), torch.zeros(1, dtype=torch.long)) for row in rows]
    with torch.no_grad():
        return np.concatenate([made(one).unit.numpy() for one in packed])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of one setting, and a run of another setting."""
    place = tmp_path_factory.mktemp("export")
    words = words_for(write_data(place / "data"), place / "runs") | {"eval.ks": "[1,5,10]"}
    for more in ("seed=1", "seed=2", "strategy.scale=5"):
        assert bench("run", *(f"{key}={value}" for key, value in words.items()), "strategy=in_batch", more) == 0
    return place / "runs"


@pytest.fixture(scope="module")
def run(runs: Path) -> Path:
    (found,) = runs.glob("in_batch-*-s2-*")
    return found


@pytest.fixture(scope="module")
def int8(runs: Path, run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run as a quantised ONNX model, by the command."""
    if find_spec("onnxruntime") is None or find_spec("onnxscript") is None:
        pytest.skip("the extra onnx is not installed")
    out = tmp_path_factory.mktemp("int8") / "made"
    assert bench("export", run.name, "--to", "onnx", "--int8", "--out", str(out), "--runs-dir", str(runs)) == 0
    return out


@pytest.fixture(scope="module")
def directory(runs: Path, run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run as a directory of Sentence Transformers, by the command."""
    out = tmp_path_factory.mktemp("st") / "made"
    assert bench("export", run.name, "--out", str(out), "--runs-dir", str(runs)) == 0
    return out


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """From a kind of encoder to its ONNX model; each is made once."""

    @cache
    def directory(kind: str) -> Path:
        from bench.use.onnx import write

        made, place = MADE[kind](), tmp_path_factory.mktemp(kind)
        before, packs = Embedder(made, "fp32").vectors(TEXTS, "query"), made.packs
        write(made, place)
        after = Embedder(made, "fp32").vectors(TEXTS, "query")
        np.testing.assert_array_equal(after, before, err_msg="writing has changed the encoder")
        assert made.packs == packs
        return place

    return directory


@pytest.mark.parametrize("pooling", [*POOLINGS, "weightedmean+lasttoken+max"])
def test_the_padded_encoder_has_the_vectors_of_each_text_alone(pooling: str) -> None:
    from bench.use.onnx import Padded

    made = encoder(pooling=pooling, output_dim=12)
    for shape in SHAPES:
        ids, mask = padded(shape)
        made.packs = False
        made.transformer.set_attn_implementation("eager")
        with torch.no_grad():
            found = Padded(made)(ids, mask).numpy()
        np.testing.assert_allclose(found, alone(made, ids, mask), atol=1e-5)


@needs_onnx
@pytest.mark.parametrize("kind", ["whitened", "pooler", "joined"])
def test_the_onnx_model_has_the_vectors_of_the_encoder(kind: str, exported: Callable[[str], Path]) -> None:
    from bench.use.onnx_embedder import OnnxEmbedder

    made, model = MADE[kind](), OnnxEmbedder.load(exported(kind))
    assert model.dim == made.dim and model.about.query == made.config.query
    for role in ("query", "passage", None):
        expected = Embedder(made, "fp32").vectors(TEXTS, role)
        np.testing.assert_allclose(model.vectors(TEXTS, role), expected, atol=2e-5)
    for shape in SHAPES:
        ids, mask = padded(shape)
        (found,) = model.session.run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
        assert found.dtype == np.float32 and found.shape == (shape[0], made.dim)
        np.testing.assert_allclose(found, alone(made, ids, mask), atol=2e-5)
    assert [path.name for path in exported(kind).glob("model*")] == ["model.onnx"], "one file holds the model"


@pytest.mark.peers
def test_sentence_transformers_loads_the_exported_directory(directory: Path, run: Path) -> None:
    peer: ModuleType = pytest.importorskip("sentence_transformers")
    theirs = peer.SentenceTransformer(str(directory), device="cpu", local_files_only=True)
    ours = Embedder.load(settings_of(run), "cpu", "fp32")
    texts = ["kaban lodor", "pegim", "mihux nufel kagim"]
    np.testing.assert_allclose(theirs.encode_query(texts), ours.vectors(texts, "query"), atol=1e-4)
    np.testing.assert_allclose(theirs.encode_document(texts), ours.vectors(texts, "passage"), atol=1e-4)
    assert theirs.similarity_fn_name == "cosine"


def test_a_directory_with_whitening_and_prefixes_is_exported_again(tmp_path: Path) -> None:
    made = whitened()
    save(made, tmp_path / "first")
    assert bench("export", str(tmp_path / "first"), "--out", str(tmp_path / "again")) == 0
    again = build(EncoderConfig(str(tmp_path / "again")), (), CPU, seed=9)
    assert (again.config.query, again.config.passage) == (made.config.query, made.config.passage)
    expected = Embedder(made, "fp32").vectors(TEXTS, "query")
    np.testing.assert_allclose(Embedder(again, "fp32").vectors(TEXTS, "query"), expected, atol=1e-5)
    card = (tmp_path / "again" / "README.md").read_text()
    assert "nothing is known here of its training" in card and '| query | `"kaban: "` | 9 |' in card
    assert "## Metrics" not in card


def test_everybody_may_read_every_file(directory: Path) -> None:
    assert directory.stat().st_mode & 0o777 == 0o755
    files = {path: path.stat().st_mode & 0o777 for path in directory.rglob("*")}
    assert all(mode == (0o755 if path.is_dir() else 0o644) for path, mode in files.items())
    assert (directory / "model.safetensors") in files


def test_the_card_tells_what_the_record_knows(directory: Path, run: Path, runs: Path) -> None:
    from bench.compare.comparison import compare
    from bench.compare.per_query import of_runs
    from bench.record.ledger import read

    card = (directory / "README.md").read_text()
    record = json.loads((run / "record.json").read_text())
    for told in ("`scratch`", f"`{record['data']['fingerprint']}`", "`in_batch`", "`scale=30`", record["command"]):
        assert told in card
    seeds = [one for one in read(runs).records if one.knobs["scale"] == 30]
    assert [one.seed for one in sorted(seeds, key=lambda one: one.seed)] == [1, 2]
    found = compare(seeds, of_runs(runs)).rows[0].metrics["recall@1"]
    cells = f"{found.mean:.2f} | {found.low:.2f} to {found.high:.2f} |"
    (row,) = (line for line in card.splitlines() if line.startswith("| `recall@1` |"))
    assert row.endswith(cells) and f" {record['metrics']['recall@1']:.2f} " in row
    assert "mean of seeds 1, 2" in card and "SentenceTransformer(" in card


def test_a_run_of_one_seed_has_no_interval(runs: Path, tmp_path: Path) -> None:
    (other,) = (path for path in runs.glob("in_batch-*") if '"scale": 5' in (path / "record.json").read_text())
    assert bench("export", other.name, "--out", str(tmp_path / "made"), "--runs-dir", str(runs)) == 0
    card = (tmp_path / "made" / "README.md").read_text()
    assert "so there is no interval" in card and "95 %" not in card and "`scale=5`" in card


def test_the_loss_of_eight_bits_is_measured(int8: Path, run: Path) -> None:
    from bench.use.agreement import VARIED
    from bench.use.onnx_embedder import OnnxEmbedder

    card, about = (int8 / "README.md").read_text(), json.loads((int8 / "negbench.json").read_text())
    assert about["int8"] and f"(opset {about['opset']})" in card
    before = Embedder.load(settings_of(run), "cpu", "fp32").vectors(VARIED, "query")
    after = OnnxEmbedder.load(int8).vectors(VARIED, "query")
    np.testing.assert_allclose(np.linalg.norm(after, axis=1), 1, atol=1e-5)
    cosines = (before * after).sum(axis=1)
    assert 0.99 < cosines.min() < 1 - 1e-7
    lowest = float(card.split(" in the mean, ")[1].split(" at the lowest")[0])
    assert lowest <= cosines.min() + 5e-5
    recall = json.loads((run / "record.json").read_text())["metrics"]["exact/recall@10"]
    assert (
        f"of the first 8 test queries over 60 of 60 passages (the relevant ones, then the first others): {recall:.2f}"
        in card
    )
    assert (int8 / "model.onnx").stat().st_size < (run / "model" / "model.safetensors").stat().st_size / 2


@needs_onnx
def test_the_head_is_not_quantised(exported: Callable[[str], Path], tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    from bench.use.onnx import quantise
    from bench.use.onnx_embedder import OnnxEmbedder

    made, place = whitened(), copytree(exported("whitened"), tmp_path / "int8")
    quantise(place)
    graph = onnx.load(place / "model.onnx").graph
    kept = {one.name for one in graph.initializer if one.data_type == onnx.TensorProto.FLOAT and len(one.dims) == 2}
    assert any("projection" in name for name in kept) and not any("word_embeddings" in name for name in kept)
    assert sum(node.op_type == "MatMulInteger" for node in graph.node) == 12, "six products in each of two layers"
    before, after = Embedder(made, "fp32").vectors(TEXTS, "query"), OnnxEmbedder.load(place).vectors(TEXTS, "query")
    assert (before * after).sum(axis=1).min() > 0.98


def test_embed_by_the_export_is_embed_by_the_run(
    runs: Path,
    run: Path,
    int8: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    texts = tmp_path / "t.txt"
    texts.write_text("kaban lodor\nmihux nufel " + "pegim " * 200 + "\nkaban lodor\nrihux\n")
    found = {}
    for name, words in {
        "run": [run.name, "--runs-dir", str(runs), "--device", "cpu"],
        "onnx": ["--onnx", str(int8)],
    }.items():
        out = tmp_path / f"{name}.npy"
        assert bench("embed", *words, "--texts", str(texts), "--out", str(out), "--as", "query") == 0
        found[name] = np.load(out)
    assert found["onnx"].shape == found["run"].shape and (found["onnx"][0] == found["onnx"][2]).all()
    assert (found["onnx"] * found["run"]).sum(axis=1).min() > 0.99
    assert bench("embed", run.name, "--onnx", str(int8), "--texts", str(texts)) == 2
    assert bench("embed", "--texts", str(texts)) == 2
    assert capsys.readouterr().err.count("give either RUN or --onnx DIR") == 2
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    assert bench("embed", "--onnx", str(int8), "--texts", str(texts)) == 2
    assert 'ONNX models need onnxruntime; `pip install -e ".[onnx]"`' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere", "--out", "{out}"], "no preset and no directory called"),
        (["{run}", "--out", "{full}"], "is not empty; give another --out"),
        (["{run}", "--out", "{full}/file"], "is a file; give another --out"),
        (["{run}", "--int8", "--out", "{out}"], "--int8 is of --to onnx"),
    ],
)
def test_what_cannot_be_exported_is_told_in_one_line(
    run: Path, tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "file").write_text("mine")
    known = {"run": str(run), "out": str(tmp_path / "out"), "full": str(full)}
    assert bench("export", *(word.format(**known) for word in words)) == 2
    told = capsys.readouterr().err
    assert message in told and "Traceback" not in told and not (tmp_path / "out").exists()
    assert [path.name for path in full.iterdir()] == ["file"]


def test_prefixes_that_are_not_pooled_are_refused() -> None:
    from bench.use.onnx import Padded

    made = encoder(query_prefix="kaban: ")
    made.skip_prompt = True
    with pytest.raises(UserError, match="leaves its prefixes out of the pooling"):
        Padded(made)


def test_a_missing_package_is_named(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.use.onnx.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs onnx, onnxscript, onnxruntime; `pip install -e \"\.\[onnx\]\"`"):
        from bench.use.onnx import require

        require()


def test_an_export_that_is_interrupted_leaves_nothing(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bench.use.export.card", stop)
    assert bench("export", str(run), "--out", str(tmp_path / "made")) != 0
    assert list(tmp_path.iterdir()) == []


def test_an_export_that_differs_is_refused(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bench.model.files import save as right

    def wrong(made: Encoder, path: Path) -> None:
        weight = made.word_embeddings.weight
        kept = weight.detach().clone()
        with torch.no_grad():
            weight.add_(torch.randn_like(weight))
            right(made, path)
            weight.copy_(kept)

    monkeypatch.setattr("bench.use.export.save", wrong)
    assert bench("export", str(run), "--out", str(tmp_path / "made")) == 2
    assert "the export differs from the encoder" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@needs_onnx
def test_a_directory_that_is_no_export_is_named(tmp_path: Path) -> None:
    from bench.use.onnx_embedder import OnnxEmbedder

    with pytest.raises(UserError, match=r"is no export to ONNX: negbench\.json is missing"):
        OnnxEmbedder.load(tmp_path)
    (tmp_path / "negbench.json").write_text("{}")
    with pytest.raises(UserError, match=r"negbench\.json cannot be read"):
        OnnxEmbedder.load(tmp_path)
