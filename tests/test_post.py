"""Post-processing of vectors: the documented recipes as loops, the encoder that has them, and its saved directory."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny import bench, words_for, write_data, write_task
from toys import CPU, DATA, toy_encoder

from bench.data.tokens import tokenize
from bench.errors import UserError
from bench.model.config import EncoderConfig
from bench.model.embedding import encode
from bench.model.encoder import Encoder
from bench.model.files import save
from bench.model.post import fitted
from bench.model.presets import build


def clouds(n: int = 200, d: int = 6) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) + 3 * rng.standard_normal(d)).astype(np.float32)


def applied(layer: torch.nn.Module, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return layer(torch.from_numpy(x)).numpy()


@pytest.mark.parametrize("dim", [None, 2])
def test_whitening_is_the_documented_recipe(dim: int | None) -> None:
    x = clouds()
    y = applied(fitted("whitening" if dim is None else f"whitening-{dim}", x), x)
    mean = sum(row.astype(np.float64) for row in x) / len(x)
    covariance = sum(np.outer(row - mean, row - mean) for row in x.astype(np.float64)) / (len(x) - 1)
    u, s, _ = np.linalg.svd(covariance)
    expected = (x - mean) @ (u @ np.diag(1 / np.sqrt(s)))[:, :dim]
    np.testing.assert_allclose(y, expected, atol=1e-4)
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(np.cov(y.T), np.eye(dim or 6), atol=1e-3)


def test_centring_leaves_nothing_along_the_mean_of_the_unit_vectors() -> None:
    x = clouds()
    y = applied(fitted("centre", x), x)
    units = [row / np.sqrt(sum(v * v for v in row)) for row in x.astype(np.float64)]
    mean = sum(units) / len(units)
    mean /= np.linalg.norm(mean)
    for row, unit in zip(y.astype(np.float64), units, strict=True):
        expected = unit - (unit @ mean) * mean
        np.testing.assert_allclose(row / np.linalg.norm(row), expected / np.linalg.norm(expected), atol=1e-5)


def test_too_few_directions_are_refused_with_how_many_there_are() -> None:
    with pytest.raises(UserError, match=r"4 texts have 3 independent directions, not 6; .*encoder.post=whitening-3"):
        fitted("whitening", clouds(4))
    assert fitted("whitening-3", clouds(4)).linear.out_features == 3


@pytest.fixture(scope="module")
def whitened() -> tuple[Encoder, Encoder]:
    """An encoder, and the same followed by whitening to four values."""
    encoder = toy_encoder(DATA).eval()
    tokens = tokenize(DATA.passages, encoder.tokenizer, 16)
    raw = encode(encoder, tokens, "fp32", raw=True)
    return encoder, encoder.followed_by(fitted("whitening-4", raw))


def test_the_encoder_s_vectors_are_the_layer_s_brought_to_unit_length(whitened: tuple[Encoder, Encoder]) -> None:
    plain, after = whitened
    tokens = tokenize(DATA.passages, plain.tokenizer, 16)
    raw = encode(plain, tokens, "fp32", raw=True)
    layer = fitted("whitening-4", raw)
    expected = F.normalize(torch.from_numpy(applied(layer, raw)), dim=-1)
    np.testing.assert_allclose(encode(after, tokens, "fp32"), expected, atol=1e-4)
    assert after.dim == 4 and plain.dim != 4 and after.recipe != plain.recipe
    assert after.transformer is plain.transformer and (after.packs, after.narrows) == (plain.packs, plain.narrows)


def test_mixed_precision_rounds_nothing_in_the_layer(whitened: tuple[Encoder, Encoder]) -> None:
    plain, after = whitened
    tokens = tokenize(DATA.passages, plain.tokenizer, 16)
    raw = encode(plain, tokens, "bf16", raw=True)
    assert after.projection is not None
    expected = F.normalize(torch.from_numpy(applied(after.projection, raw)), dim=-1)
    np.testing.assert_allclose(encode(after, tokens, "bf16"), expected, atol=1e-5)


def test_a_truncated_encoder_is_processed_after_the_cut() -> None:
    plain = toy_encoder(DATA).eval()
    cut = Encoder(plain.transformer, plain.tokenizer, replace(plain.config, layers=None), truncate_dim=5).eval()
    cut.packs, cut.narrows = plain.packs, plain.narrows
    tokens = tokenize(DATA.passages, plain.tokenizer, 16)
    raw = encode(cut, tokens, "fp32", raw=True)
    assert raw.shape[1] == 5
    layer = fitted("whitening-3", raw)
    expected = F.normalize(torch.from_numpy(applied(layer, raw)), dim=-1)
    np.testing.assert_allclose(encode(cut.followed_by(layer), tokens, "fp32"), expected, atol=1e-4)


def test_a_saved_directory_gives_the_same_vectors_here_and_in_sentence_transformers(
    whitened: tuple[Encoder, Encoder], tmp_path: Path
) -> None:
    _, after = whitened
    tokens = tokenize(DATA.passages[:10], after.tokenizer, 16)
    expected = encode(after, tokens, "fp32")
    save(after, tmp_path)
    again = build(EncoderConfig(str(tmp_path)), [], CPU, 0)
    np.testing.assert_allclose(encode(again, tokens, "fp32"), expected, atol=1e-5)
    peers = pytest.importorskip("sentence_transformers")
    theirs = peers.SentenceTransformer(str(tmp_path), device="cpu").encode(list(DATA.passages[:10]))
    np.testing.assert_allclose(theirs, expected, atol=1e-4)


def test_a_run_is_measured_and_saved_with_its_post_processing(tmp_path: Path) -> None:
    words = words_for(write_data(tmp_path / "data"), tmp_path / "runs")
    found = {}
    for post in ("none", "whitening-8", "centre"):
        words |= {"encoder.post": post}
        assert bench("run", *(f"{key}={value}" for key, value in words.items())) == 0
    for path in (tmp_path / "runs").glob("*/record.json"):
        record = json.loads(path.read_text())
        found[record["config"]["encoder"]["post"]] = record
    raw, white = found["none"], found["whitening-8"]
    assert len({json.dumps(record["metrics"]) for record in found.values()}) == 3
    assert len({json.dumps(record["baseline_metrics"]) for record in found.values()}) == 3
    assert raw["training"]["telemetry"] == white["training"]["telemetry"], "it is no part of training"
    assert white["cost"]["post_s"] > 0 and "post_s" not in raw["cost"]
    saved = tmp_path / "runs" / white["run_id"] / "model"
    assert build(EncoderConfig(str(saved)), [], CPU, 0).dim == 8


def test_without_texts_of_train_the_setting_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_data(tmp_path / "data")
    (data / "train.tsv").unlink()
    words = words_for(data, tmp_path / "runs") | {"train.max_steps": "0", "encoder.post": "centre"}
    assert bench("run", *(f"{key}={value}" for key, value in words.items())) == 2
    assert "encoder.post_on=all takes all its texts" in capsys.readouterr().err
    assert bench("run", *(f"{key}={value}" for key, value in words.items()), "encoder.post_on=all") == 0


def test_fitted_for_each_task_a_task_has_the_value_that_it_has_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, start in {"one": 0, "two": 10}.items():
        test = write_task(tmp_path / "tasks" / name) / "test.tsv"
        test.write_text("".join(test.read_text().splitlines(keepends=True)[start:]))
    words = words_for(tmp_path / "tasks", tmp_path / "runs") | {"eval.untrained": "false", "strategy": "cosent"}
    assert bench("run", *(f"{key}={value}" for key, value in words.items())) == 0
    (start,) = (tmp_path / "runs").glob("*/model")

    def metrics(data: Path, on: str, steps: int = 0) -> dict[str, float]:
        given = words | {"data": f"'{data}'", "encoder": f"'{start}'", "train.max_steps": str(steps)}
        given |= {"runs_dir": str(tmp_path / f"{data.name}-{on}-{steps}"), "encoder.post_on": on}
        assert bench("run", *(f"{key}={value}" for key, value in given.items()), "encoder.post=whitening-5") == 0
        (record,) = Path(given["runs_dir"]).glob("*/record.json")
        return dict(json.loads(record.read_text())["metrics"])

    together = metrics(tmp_path / "tasks", "task")
    for name in ("one", "two"):
        alone = metrics(tmp_path / "tasks" / name, "all")
        assert together[f"{name}/spearman"] == pytest.approx(alone["spearman"], abs=1e-4)
    assert together != metrics(tmp_path / "tasks", "all")
    assert metrics(tmp_path / "tasks", "task", steps=1) != together
    capsys.readouterr()
    retrieval = words_for(write_data(tmp_path / "data"), tmp_path / "runs") | {"encoder.post": "centre"}
    assert bench("run", *(f"{key}={value}" for key, value in retrieval.items()), "encoder.post_on=task") == 2
    assert "encoder.post_on=task fits the post-processing for each similarity task" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [{"post": "pca"}, {"post_on": "dev"}, {"post": "whitening-0"}, {"post": "centre-4"}])
def test_settings_that_make_no_sense_are_named(wrong: dict[str, object]) -> None:
    with pytest.raises(UserError, match=f"encoder.{next(iter(wrong))}="):
        EncoderConfig(**wrong)  # type: ignore[arg-type]


def test_more_values_than_vectors_have_are_refused_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = words_for(write_data(tmp_path / "data"), tmp_path / "runs") | {"encoder.post": "whitening-4096"}
    assert bench("run", *(f"{key}={value}" for key, value in words.items()), "eval.untrained=false") == 2
    assert "encoder.post=whitening-4096, but the vectors of encoder=scratch have" in capsys.readouterr().err
    assert not list((tmp_path / "runs").glob("*/history.jsonl"))


def test_a_direction_without_variance_is_left_out() -> None:
    """The values behind a layer norm add up to the same number, so there is one."""
    x = clouds()
    x = np.concatenate([x, -x.sum(axis=1, keepdims=True)], axis=1)
    y = applied(fitted("whitening", x), x)
    assert y.shape[1] == 6
    np.testing.assert_allclose(np.cov(y.T), np.eye(6), atol=1e-3)
    with pytest.raises(UserError, match="6 independent directions, not 7"):
        fitted("whitening-7", x)
