"""The measurements of ``gpu.py``: each part is a generator of rows, dicts with a ``case`` and its figures.

A case that does not fit into the time left, needs what is not there, or does not fit into memory has ``skipped`` or
``failed`` with the reason, and no figure.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from gpu_case import NEEDS_CUDA, Row, Setting, best, case
from gpu_models import encoding, training, write_models

ROOT = Path(__file__).parents[1]


def _apart(setting: Setting, command: list[str]) -> subprocess.CompletedProcess[str]:
    """A command's result; it has the time that is left."""
    return subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=max(setting.left, 1)
    )


def tests(setting: Setting) -> Iterator[Row]:
    """The gpu group of the test suite."""
    if not setting.cuda:
        yield {"case": "pytest -m gpu", "skipped": NEEDS_CUDA}
        return
    files = [str(path) for path in sorted((ROOT / "tests").glob("test_*.py")) if "mark.gpu" in path.read_text("utf-8")]
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", *files]

    def measure() -> Row:
        done = _apart(setting, command)
        lines = done.stdout.strip().splitlines()
        wrong = {"failed": f"exit status {done.returncode}"} if done.returncode else {}
        return {**wrong, "summary": lines[-1] if lines else "", "output": lines[-12:]}

    yield case(setting, "pytest -m gpu", 20, measure, memory=False)


def products(setting: Setting) -> Iterator[Row]:
    """The rate of bf16 matrix products: square ones, and those of the model's feed-forward layers."""
    shapes = [(8192, 8192, 8192), (131_072, 768, 3072), (131_072, 3072, 768)]
    if setting.tiny:
        shapes = [(128, 128, 128), (256, 32, 64)]
    for rows, inner, columns in shapes:

        def measure(rows: int = rows, inner: int = inner, columns: int = columns) -> Row:
            left, right = (
                torch.randn(shape, device=setting.device, dtype=torch.bfloat16)
                for shape in ((rows, inner), (inner, columns))
            )
            seconds = best(setting, lambda: left @ right, rounds=5, times=10)
            return {"tflops": 2 * rows * inner * columns / seconds / 1e12}

        yield case(setting, f"{rows} x {inner} x {columns}", 2, measure)


def search(setting: Setting) -> Iterator[Row]:
    """Exact search and mining among 1,000,000 drawn vectors of 768 dimensions; faiss beside it where it is for GPUs."""
    from bench.cache import Cache
    from bench.data.dataset import Ragged, Split
    from bench.model.embedding import Cost
    from bench.negatives.pool import build_pool
    from bench.negatives.searchers import DenseSearcher
    from bench.search.exact import ExactIndex

    size, width, asked, mined = (2000, 64, 100, 200) if setting.tiny else (1_000_000, 768, 10_000, 20_000)
    k, depth = (10, 20) if setting.tiny else (100, 256)
    memory_mb = 16 if setting.tiny else 4096  # of scores
    generator = torch.Generator(setting.device).manual_seed(0)

    def drawn(rows: int) -> np.ndarray:
        vectors = torch.randn(rows, width, generator=generator, device=setting.device)
        return torch.nn.functional.normalize(vectors, dim=1).cpu().numpy()

    passages, queries = drawn(size), drawn(mined)
    found: dict[str, np.ndarray] = {}

    def torch_search() -> Row:
        index = ExactIndex(passages, setting.device, memory_mb)
        start = perf_counter()
        index.search(queries[:8], k)  # the vectors are sent to the device
        ready = perf_counter()
        found["torch"] = index.search(queries[:asked], k)[1]
        return {"build_s": ready - start, "search_s": perf_counter() - ready, "queries": asked, "k": k}

    def faiss_search() -> Row:
        import faiss

        start = perf_counter()
        index = faiss.GpuIndexFlatIP(faiss.StandardGpuResources(), width)
        index.add(passages)
        ready = perf_counter()
        ids = index.search(queries[:asked], k)[1]
        seconds = perf_counter() - ready
        same = float((ids == found["torch"]).mean()) if "torch" in found else None
        return {"build_s": ready - start, "search_s": seconds, "queries": asked, "k": k, "same_ids": same}

    def mining() -> Row:
        rows = np.arange(mined)
        split = Split(rows, Ragged(np.arange(mined + 1), rows))
        searcher = DenseSearcher(queries, passages, setting.device, Cost(), memory_mb)
        with tempfile.TemporaryDirectory(dir=setting.scratch) as place:
            start = perf_counter()
            build_pool("pool", lambda: searcher, split, depth, memory_mb, Cache(Path(place)))
            return {"mine_s": perf_counter() - start, "queries": mined, "depth": depth}

    yield case(setting, f"torch, {size} x {width}", 20, torch_search)
    if not setting.cuda:
        yield {"case": "faiss-gpu", "skipped": NEEDS_CUDA}
    elif not _faiss_has_gpus():
        yield {"case": "faiss-gpu", "skipped": "faiss-gpu is not installed (extra gpu)"}
    else:
        yield case(setting, f"faiss-gpu, {size} x {width}", 20, faiss_search)
    yield case(setting, f"mining, {size} x {width}", 30, mining)


def _faiss_has_gpus() -> bool:
    try:
        import faiss
    except ImportError:
        return False
    return bool(getattr(faiss, "get_num_gpus", lambda: 0)())


def demo(setting: Setting) -> Iterator[Row]:
    """The runs of ``make demo``; a tiny one is made shorter, and on the data and the encoder of the other parts."""
    words = demo_words((ROOT / "Makefile").read_text("utf-8"))
    words = [word for word in words if not word.startswith("runs_dir=")]
    runs = tempfile.mkdtemp(dir=setting.scratch)
    words += [f"runs_dir={runs}", f"device={setting.device}"]
    if setting.tiny:
        words = [word for word in words if not word.startswith("strategy=")]
        words += ["strategy=in_batch", f"data={setting.data}", f"encoder={setting.model(0.1)}", "train.max_steps=2"]

    def measure() -> Row:
        start = perf_counter()
        done = _apart(setting, [sys.executable, "-m", "bench", *words])
        seconds = perf_counter() - start
        if done.returncode:
            lines = done.stderr.strip().splitlines()
            raise RuntimeError(lines[-1] if lines else f"exit status {done.returncode}")
        return {"seconds": seconds, "runs": len(list(Path(runs).glob("*/record.json"))), "command": shlex.join(words)}

    yield case(setting, "make demo", 1 if setting.tiny else 30, measure, memory=False)


def demo_words(makefile: str) -> list[str]:
    """The words of ``bench`` of the target demo."""
    (small,) = re.findall(r"^SMALL := ((?:.*\\\n)*.*)", makefile, re.MULTILINE)
    (words,) = re.findall(r"bench (run strategy=.*\$\(SMALL\).*)", makefile)
    return shlex.split(words.replace("$(SMALL)", small.replace("\\\n", " ")))


PARTS: dict[str, tuple[Callable[[Setting], Iterator[Row]], float]] = {
    "tests": (tests, 1.0),
    "products": (products, 0.2),
    "encoding": (encoding, 1.2),
    "training": (training, 2.6),
    "search": (search, 1.2),
    "demo": (demo, 1.4),
}
"""The parts in order, each with its weight when the time is shared out."""


def main() -> None:
    """Run the parts that lines of the standard input name, [part, setting] in JSON, and print their rows in JSON."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    for line in sys.stdin:
        part, told = json.loads(line)
        setting = Setting(**{**told, "scratch": Path(told["scratch"])})
        models = part == "models"
        for row in iter([{"case": "models", **write_models(setting)}]) if models else PARTS[part][0](setting):
            print("ROW " + json.dumps(row), flush=True)
        print("END", flush=True)


if __name__ == "__main__":
    main()
