"""The Python interface: it returns what the commands and the records say, and the examples of docs/api.md run."""

from __future__ import annotations

import math
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from records import LEVELS, Runs, run
from tiny import bench, words_for, write_data

from bench import api
from bench.compare.comparison import compare as plain_compare
from bench.errors import UserError
from bench.model.config import EncoderConfig
from bench.record.store import RunDirectory

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    root = tmp_path_factory.mktemp("a place with 'quotes'")
    given = {key: word.strip("'") for key, word in words_for(Path("data"), Path("runs")).items()}
    given |= {"encoder.query_prefix": "ask: ", "encoder.max_passage_tokens": "32"}
    return {**given, "data": write_data(root / "tiny"), "runs_dir": root / "runs", "eval.ks": [1, 5], "seed": 3}


@pytest.fixture(scope="module")
def outcome(settings: dict[str, object]) -> object:
    return api.run(settings)


# Settings and runs


def test_a_mapping_and_words_are_the_same_settings(tmp_path: Path) -> None:
    words = ["strategy=mnr", "train.lr=1e-4", "eval.ks=[1,5]", "strategy.symmetric=true", "encoder.query_prefix='a, b'"]
    mapped = {
        "strategy": "mnr", "train.lr": 1e-4, "eval.ks": (1, 5), "strategy.symmetric": True,
        "encoder.query_prefix": "a, b",
    }  # fmt: skip
    assert api.resolve(mapped) == api.resolve(words)
    assert api.resolve({"train.max_steps": None}) == api.resolve()
    for text in ("it's", 'say "x" = [1]', "a\\b", "a\\", "a\\'b", "\\\\'", "true", " lead", "{x}", "問い", ""):
        assert api.resolve({"encoder.query_prefix": text}).encoder.query_prefix == text


def test_settings_that_cannot_be_are_refused() -> None:
    for settings, message in (
        (["seed=1,2"], "asks for 2 runs"),
        ("strategy=mnr", "a mapping or a list"),
        (None, "a mapping or a list"),
        ({"train": {"lr": 1}}, "write train.lr instead of 'train'"),
        ({"train.lrr": 1}, "did you mean 'train.lr'"),
        ({"strategy": "in_batch,mnr"}, "not registered"),
    ):
        with pytest.raises(UserError, match=re.escape(message)):
            api.resolve(settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["n" * 300, "~nobody-of-this-name/runs", "\0", "/dev/null", "n/" * 3000])
def test_a_name_that_no_path_can_have_is_an_error_for_the_person(
    name: str, settings: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for key in ("data", "encoder", "train.init_from"):
        with pytest.raises(UserError):
            api.run({**settings, key: name})
    for call in (api.load_records, api.compare, lambda place: api.embed(["a text"], place)):
        with pytest.raises(UserError):
            call(name)


def test_a_run_is_that_of_the_command_line(
    outcome: object, settings: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    record, path = outcome.record, outcome.path  # type: ignore[attr-defined]
    assert record.status == "finished" and not outcome.skipped  # type: ignore[attr-defined]
    assert (path / "model").is_dir()
    again = api.run(settings)
    assert again.skipped and again.record.to_json() == record.to_json()
    command = shlex.split(record.command)
    capsys.readouterr()
    runs = str(settings["runs_dir"]).replace("'", "\\'")
    assert bench(*command[1:], "track=none", f"runs_dir='{runs}'") == 0
    assert f"{record.run_id} is finished already" in capsys.readouterr().err


# Records and comparisons


def test_records_are_a_table_of_a_row_a_run(tmp_path: Path) -> None:
    runs = Runs(LEVELS, knobs={"scale": 30.0})
    odd = run("queue", 1, metrics={"recall@1": 5.0, "mrr@10": None}, knobs={"size": 7})
    runs.records.append(odd)
    runs.values[odd.run_id] = np.zeros(300)
    runs.write(tmp_path / "runs")
    with RunDirectory.open(tmp_path / "runs", "broken") as directory:
        (directory.path / "record.json").write_text("{")
    with pytest.warns(UserWarning, match="left out: .*broken"):
        table = api.load_records(tmp_path / "runs")
    assert list(table)[:7] == ["strategy", "seed", "data", "encoder", "split", "status", "run_id"]
    assert len(table) == 10 and set(table["status"]) == {"finished"}
    by_id = table.set_index("run_id")
    for record in runs.records:
        row = by_id.loc[record.run_id]
        assert (row["strategy"], row["seed"], row["data"]) == (record.strategy, record.seed, "faq")
        for name, value in record.metrics.items():
            assert row[name] == value or (value is None and math.isnan(row[name]))
        assert all(row[f"cost/{name}"] == value for name, value in record.cost.items())
        assert all(row[f"strategy.{name}"] == value for name, value in record.knobs.items())
    assert math.isnan(by_id.loc[odd.run_id, "strategy.scale"])
    with pytest.warns(UserWarning, match="left out"):
        assert set(api.load_records(tmp_path / "runs", ["strategy=mnr,queue"])["strategy"]) == {"mnr", "queue"}


def test_packed_records_are_the_same_table_and_comparison(runs_dir: Path, tmp_path: Path) -> None:
    assert bench("records", "pack", "--runs-dir", str(runs_dir), "--out", str(tmp_path / "packed")) == 0
    pd.testing.assert_frame_equal(api.load_records(tmp_path / "packed"), api.load_records(runs_dir))
    assert api.compare(tmp_path / "packed", ["seed=1,2"]) == api.compare(runs_dir, ["seed=1,2"])


def test_a_comparison_is_that_of_the_records(runs_dir: Path) -> None:
    runs = Runs(LEVELS)
    assert api.compare(runs_dir) == plain_compare(sorted(runs.records, key=lambda r: r.run_id), runs.per_query)
    with pytest.raises(UserError, match=r"allow='nothing'"):
        api.compare(runs_dir, allow=["nothing"])
    with pytest.raises(UserError, match="no runs at"):
        api.load_records(runs_dir / "nowhere")


# Embeddings


def test_vectors_of_a_run_are_unit_vectors_in_order(outcome: object) -> None:
    path = outcome.path  # type: ignore[attr-defined]
    texts = ["kaban lodor", "mifel", "a text that is much longer than the others are " * 9, "mifel"]
    vectors = api.embed(texts, path, device="cpu", precision="fp32")
    assert vectors.dtype == np.float32 and vectors.shape[0] == 4
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    for place, text in enumerate(texts):
        alone = api.embed([text], path / "model", device="cpu", precision="fp32")
        assert np.allclose(alone[0], vectors[place], atol=1e-5)
    assert api.embed([], path).shape == (0, vectors.shape[1])


def test_a_role_puts_its_prefix_and_its_length(outcome: object) -> None:
    path = outcome.path  # type: ignore[attr-defined]

    def of(text: str, role: str | None = None, encoder: object = path) -> np.ndarray:
        return api.embed([text], encoder, role, device="cpu", precision="fp32")  # type: ignore[arg-type]

    assert np.allclose(of("kaban", "query"), of("ask: kaban"), atol=1e-6)
    assert np.allclose(of("kaban", "passage"), of("kaban"), atol=1e-6)
    long = "kaban " * 40
    assert np.allclose(of(long, "passage"), of("kaban " * 60, "passage"), atol=1e-6), "both are cut to 32 tokens"
    assert not np.allclose(of(long), of("kaban " * 20), atol=1e-4)


def test_a_sentence_transformers_directory_says_its_prompts(outcome: object, tmp_path: Path) -> None:
    import shutil

    moved = shutil.copytree(outcome.path / "model", tmp_path / "elsewhere")  # type: ignore[attr-defined]
    of_run = api.embed(["kaban"], outcome.path, "query", "cpu", "fp32")  # type: ignore[attr-defined]
    assert np.allclose(api.embed(["kaban"], moved, "query", "cpu", "fp32"), of_run, atol=1e-6)
    plain = api.embed(["ask: kaban"], EncoderConfig(str(moved)), None, "cpu", "fp32")
    assert np.allclose(plain, of_run, atol=1e-6)
    (moved / "config_sentence_transformers.json").write_text("[")
    with pytest.raises(UserError, match="not a JSON object"):
        api.embed(["kaban"], moved)


def test_what_cannot_be_embedded_is_refused() -> None:
    with pytest.raises(UserError, match="list of strings"):
        api.embed("one text", "scratch")
    with pytest.raises(UserError, match=r"role='document'"):
        api.embed(["text"], "scratch", role="document")
    with pytest.raises(UserError, match="no preset or directory"):
        api.embed(["text"], "nosuchname")
    with pytest.raises(UserError, match="texts: line 2 is empty"):
        api.embed(["text", ""], "scratch")


# The examples of docs/api.md


def test_the_example_runs(tmp_path: Path) -> None:
    words = [f"{key}={word.strip(chr(39))}" for key, word in words_for(tmp_path / "tiny", tmp_path / "runs").items()]
    write_data(tmp_path / "tiny")
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "example.py"), *words],
        capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "best:" in done.stdout and "over 2 seeds" in done.stdout
    assert len(list((tmp_path / "runs").glob("*/record.json"))) == 4


def test_the_example_of_the_page_runs(
    settings: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "api.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    plain = api.run
    small = {**settings, "runs_dir": "runs"}
    monkeypatch.setattr(api, "run", lambda given: plain({**given, **small}))
    exec(compile(block, "docs/api.md", "exec"), {})
    assert "recall@1" in capsys.readouterr().out


def test_importing_it_takes_nothing_heavy() -> None:
    code = "import bench.api, sys; assert not {'torch', 'pandas', 'hydra', 'numpy'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
