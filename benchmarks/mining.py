"""Mining hard negatives here and by sentence-transformers' ``mine_hard_negatives``, from the same vectors.

    pip install -e ".[peers]"
    python benchmarks/mining.py --data ../shared/data/arxiv_title_abstract

Vectors are given, so that only the search is timed: the texts' words, each a random direction, summed. Each side
searches ``--depth`` passages for every query and keeps the highest ``--negatives`` beside its positive; the peer by
faiss and by torch. Sides take turns, each in a fresh process. Printed are the median seconds, how often the first
side's negatives were found, and the peak memory of the process, which for ours is measured again with fewer queries.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray

Ids = NDArray[np.int64]
DIM = 384
SIDES = ("ours", "faiss", "torch")


def prepare(args: argparse.Namespace) -> None:
    """Write the vectors of the first queries and passages and the queries' positives to the scratch directory."""
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.random_projection import GaussianRandomProjection

    from bench.data import DataConfig, load

    data = load(DataConfig(args.data, max_train=args.queries, max_corpus=args.passages))
    train = data.splits["train"]
    words = HashingVectorizer(n_features=2**16, alternate_sign=False, dtype=np.float32)
    project = GaussianRandomProjection(DIM, random_state=0).fit(words.transform(data.passages[:1]))
    for name, texts in (("queries", [data.queries[q] for q in train.queries]), ("passages", data.passages)):
        vectors = np.asarray(project.transform(words.transform(texts)), dtype=np.float32)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        np.save(args.scratch / f"{name}.npy", vectors / np.maximum(norms, 1e-12))
    np.save(args.scratch / "positives.npy", np.array([train.relevant[row][0] for row in range(len(train))]))


def ours(args: argparse.Namespace, work: Work) -> Ids:
    from bench.cache import Cache
    from bench.data.dataset import Ragged, Split
    from bench.model.embedding import Cost
    from bench.negatives.pool import build_pool
    from bench.negatives.searchers import DenseSearcher

    rows = np.arange(len(work.queries))
    split = Split(rows, Ragged(np.arange(len(rows) + 1), work.positives))
    cache = Cache(args.scratch)
    cache.remove("pool")
    searcher = DenseSearcher(work.queries, work.passages, "cpu", Cost(), args.memory_mb)
    pool = build_pool("pool", lambda: searcher, split, args.depth, args.memory_mb, cache)
    return np.asarray(pool.entries["passage"][:, : args.negatives])


def peer(args: argparse.Namespace, work: Work) -> Ids:
    from datasets import Dataset
    from sentence_transformers.util import cos_sim, mine_hard_negatives, pairwise_cos_sim

    class Given:
        """A model that has encoded everything already."""

        device = torch.device("cpu")
        similarity = staticmethod(cos_sim)
        similarity_pairwise = staticmethod(pairwise_cos_sim)
        get_embedding_dimension = staticmethod(lambda: DIM)
        encode_query = staticmethod(lambda texts, **_: np.array(work.queries))
        encode_document = staticmethod(lambda texts, **_: np.array(work.passages))

    asked, corpus = [f"q{n}" for n in range(len(work.queries))], [f"{n}" for n in range(len(work.passages))]
    found = mine_hard_negatives(
        Dataset.from_dict({"anchor": asked, "positive": [corpus[p] for p in work.positives]}),
        Given(),
        corpus=corpus,
        range_max=args.depth,
        num_negatives=args.negatives,
        output_format="n-tuple",
        use_faiss=args.side == "faiss",
        faiss_batch_size=args.peer_batch,
        verbose=False,
    )
    names = [name for name in found.column_names if name.startswith("negative")]
    return np.stack([np.asarray(found[name], dtype=np.int64) for name in names], axis=1)


class Work:
    """Vectors [Q, d] and [P, d], and the passage that is relevant to each query [Q]."""

    def __init__(self, args: argparse.Namespace, queries: int) -> None:
        self.queries, self.passages, self.positives = (
            np.load(args.scratch / f"{name}.npy", mmap_mode="r") for name in ("queries", "passages", "positives")
        )
        self.queries, self.positives = self.queries[:queries], self.positives[:queries]


def side(args: argparse.Namespace) -> None:
    """Mine once, keep the ids and print seconds and MiB."""
    mined = ours if args.side == "ours" else peer
    mined(args, Work(args, 32))  # imports, threads and kernels are there afterwards
    work = Work(args, args.queries)
    start = perf_counter()
    found = mined(args, work)
    seconds = perf_counter() - start
    np.save(args.scratch / f"{args.side}.npy", found)
    print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--queries", type=int, default=50_000)
    parser.add_argument("--passages", type=int, default=195_000)
    parser.add_argument("--depth", type=int, default=256)
    parser.add_argument("--negatives", type=int, default=7)
    parser.add_argument("--memory-mb", type=int, default=512, help="our limit for scores")
    parser.add_argument("--peer-batch", type=int, default=4096, help="the peer's queries at once")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scratch", type=Path, default=Path("runs/benchmark"))
    parser.add_argument("--side", choices=SIDES, help="run one side here and print its figures")
    args = parser.parse_args()
    if args.side:
        side(args)
        return
    args.scratch.mkdir(parents=True, exist_ok=True)
    prepare(args)

    def run(name: str, queries: int) -> tuple[float, float]:
        command = [sys.executable, __file__, *sys.argv[1:], "--side", name, "--queries", str(queries)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        seconds, peak = json.loads(done.stdout.strip().splitlines()[-1])
        print(f"{name:<8}{queries:>8} queries{seconds:>9.1f} s{peak:>9.0f} MiB", file=sys.stderr)
        return seconds, peak

    found: dict[str, list[tuple[float, float]]] = {name: [] for name in SIDES}
    for _ in range(args.rounds):
        for name in SIDES:
            found[name].append(run(name, args.queries))
    first = np.load(args.scratch / "ours.npy")
    base = statistics.median(seconds for seconds, _ in found["ours"])
    print(f"{'':<8}{'seconds':>9}{'ours/it':>9}{'peak MiB':>10}{'same %':>9}")
    for name, results in found.items():
        seconds = statistics.median(s for s, _ in results)
        same = (np.load(args.scratch / f"{name}.npy") == first).mean() * 100
        print(f"{name:<8}{seconds:>9.1f}{base / seconds:>9.2f}{max(p for _, p in results):>10.0f}{same:>9.2f}")
    for queries in (args.queries // 4, args.queries // 2):
        run("ours", queries)


if __name__ == "__main__":
    main()
