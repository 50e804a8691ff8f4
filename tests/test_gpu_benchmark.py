"""``benchmarks/gpu.py`` runs from end to end on a CPU, on next to no work, and makes up no figure of a GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu.py"


def run(*words: str) -> subprocess.CompletedProcess[str]:
    there = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[1]), "HF_HUB_OFFLINE": "1"}
    return subprocess.run([sys.executable, str(SCRIPT), *words], capture_output=True, text=True, env=there)


def test_every_part_runs_on_a_cpu(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    done = run("--device", "cpu", "--tiny", "--seconds", "300", "--data", str(data), "--out", str(out))
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    told = json.loads(out.read_text())
    assert told["date"] and told["environment"]["torch"] == torch.__version__ and told["device"] == "cpu"
    rows = {(part, row["case"]): row for part, rows in told["parts"].items() for row in rows}
    cuda_only = {("tests", "pytest -m gpu"), ("encoding", "packed"), ("search", "faiss-gpu")}
    assert {key for key, row in rows.items() if "CUDA" in str(row.get("skipped"))} == cuda_only
    assert all(rows[key]["skipped"] == "needs a CUDA GPU" and len(rows[key]) == 2 for key in cuda_only)
    measured = {part for (part, _), row in rows.items() if not {"skipped", "failed"} & row.keys()}
    assert measured == {"models", "products", "encoding", "training", "search", "demo"}
    padded, step = rows["encoding", "padded"], rows["training", "batch 16, gradient cache, attention dropout 0.1, ours"]
    assert padded["texts_per_s"] > 0 and padded["share"] > 0 and padded["peak_memory_mb"] > 0
    assert step["pairs_per_s"] > 0 and step["share"] > 0
    assert rows["demo", "make demo"]["runs"] == 1


def test_what_no_longer_fits_is_skipped_and_named(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    words = ("--device", "cpu", "--tiny", "--data", str(data), "--out", str(out))
    done = run(*words, "--seconds", "4.5", "--parts", "products,search")
    assert done.returncode == 0, done.stderr
    parts = json.loads(out.read_text())["parts"]
    assert {row["skipped"] for part in ("products", "search") for row in parts[part]} == {"no time left"}
    assert "no time left" in done.stdout


def test_it_refuses_a_part_that_is_not_there() -> None:
    assert "there is no serch" in run("--device", "cpu", "--parts", "serch").stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so() -> None:
    done = run("--device", "cuda")
    assert done.returncode == 2 and "torch finds no CUDA GPU here" in done.stderr
