"""Build time, search time and recall of every engine of search that is installed, with equal M, ef_construction and ef.

    OMP_NUM_THREADS=1 python benchmarks/engines.py

Passages and queries are unit vectors drawn around the centres of ``--clusters`` clusters, each of which spreads in
``--within`` dimensions of its own. Engines take turns and each builds and searches ``--rounds`` times, with another
seed each time. Printed are medians; recall is the share of the ``--k`` passages of exact search that the engine found.
"""

from __future__ import annotations

import argparse
import statistics
from time import perf_counter

import numpy as np

from bench.data.dataset import Floats
from bench.search import ExactIndex, IndexConfig, build, registered

SIZES = {"passages": 20_000, "queries": 2000, "dim": 384, "clusters": 20, "within": 64, "k": 10, "rounds": 3}
SETTINGS = {"m": 32, "ef-construction": 100, "ef": 100, "threads": 1}


def draw(args: argparse.Namespace) -> tuple[Floats, Floats]:
    """Unit vectors of passages and of queries."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((args.clusters, args.dim)).astype(np.float32)
    axes = rng.standard_normal((args.clusters, args.within, args.dim)).astype(np.float32)

    def vectors(rows: int) -> Floats:
        cluster = rng.integers(0, args.clusters, rows)
        place = rng.standard_normal((rows, args.within)).astype(np.float32) / np.sqrt(args.within)
        found = centres[cluster] + np.stack([p @ axes[c] for p, c in zip(place, cluster, strict=True)])
        unit: Floats = found / np.linalg.norm(found, axis=1, keepdims=True)
        return unit

    return vectors(args.passages), vectors(args.queries)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {**SIZES, **SETTINGS}.items():
        options.add_argument(f"--{name}", type=int, default=default)
    args = options.parse_args()
    passages, queries = draw(args)
    expected = ExactIndex(passages).search(queries, args.k)[1]
    names = [engine.name for engine in registered().values() if engine.installed]
    taken: dict[str, list[tuple[float, float, float]]] = {name: [] for name in names}
    for seed in range(args.rounds):
        for name in names:
            config = IndexConfig(name, args.m, args.ef_construction, args.ef, args.threads)
            config.require()
            start = perf_counter()
            index = build(passages, config, seed)
            built = perf_counter()
            ids = index.search(queries, args.k)[1]
            searched = perf_counter()
            hits = [len(set(a) & set(b)) for a, b in zip(ids.tolist(), expected.tolist(), strict=True)]
            taken[name].append((built - start, searched - built, 100 * float(np.mean(hits)) / args.k))
    print(f"{'engine':10} {'build s':>8} {'search s':>9} {'recall %':>9}")
    for name, rounds in taken.items():
        build_s, search_s, recall = (statistics.median(column) for column in zip(*rounds, strict=True))
        print(f"{name:10} {build_s:8.2f} {search_s:9.3f} {recall:9.2f}")


if __name__ == "__main__":
    main()
