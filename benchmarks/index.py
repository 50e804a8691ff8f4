"""What an index loses of a model's recall: engines, ef_construction and ef, with and without the common mean vector.

    python benchmarks/index.py --model runs/RUN_A --model runs/RUN_B --data DATA --split dev --out losses.tsv

Each ``--model`` is a run's directory or any encoder. Its vectors of ``--data`` are made once and kept in ``--keep``.
Every graph is built once and searched with each ``--ef``. ``centred`` vectors have lost their mean direction
(``encoder.post=centre``, fitted on the corpus). A row of the output has the recall of exact search on the same
vectors, in percent, and the points that the index loses of it. Rows that ``--out`` already has are not measured again.
Further words are settings of the data, such as data.max_corpus=50000.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from bench.atomic import atomic_directory
from bench.config.overrides import resolve
from bench.data import load
from bench.data.dataset import DataSet, Floats, Ids, Split
from bench.evaluate.geometry import NEAREST, hubness, mean_norm
from bench.evaluate.metrics import judge, means, per_query
from bench.model.post import fitted
from bench.search import ExactIndex, IndexConfig, build
from bench.search import load as read
from bench.use.embedder import Embedder
from bench.use.weights import settings_of

COLUMNS = (
    *("model", "data", "split", "passages", "centred", "mean_norm", "hubness", "exact_recall@1", "exact_recall@10"),
    *("engine", "ef_construction", "ef", "loss@1", "loss@10", "build_s", "search_s"),
)

METRICS = ("recall@1", f"recall@{NEAREST}")
IDENTITY = ("model", "data", "split", "passages", "centred", "engine", "ef_construction", "ef")


def vectors(name: str, data: DataSet, split: Split, keep: Path) -> tuple[Floats, Floats]:
    """The vectors of the queries and of the corpus by a model, from the directory ``keep`` or made now."""
    of = [str(Path(name).resolve()), data.fingerprint, split.queries.tolist()]
    place = keep / hashlib.sha256(json.dumps(of).encode()).hexdigest()[:16]
    if not place.is_dir():
        embedder = Embedder.load(settings_of(name))
        keep.mkdir(parents=True, exist_ok=True)
        with atomic_directory(place) as made:
            np.save(made / "queries.npy", embedder.vectors([data.queries[query] for query in split.queries], "query"))
            np.save(made / "passages.npy", embedder.vectors(data.passages, "passage"))
    return np.load(place / "queries.npy"), np.load(place / "passages.npy")


def centred(queries: Floats, passages: Floats) -> tuple[Floats, Floats]:
    """Both without the mean direction of the passages, at length one."""
    layer = fitted("centre", passages)

    def without(of: Floats) -> Floats:
        with torch.inference_mode():
            moved = layer(torch.from_numpy(of))
        unit: Floats = torch.nn.functional.normalize(moved, dim=1).numpy()
        return unit

    return without(queries), without(passages)


def recalls(found: Ids, split: Split) -> dict[str, float]:
    """Recall@1 and Recall@10 of what was found, in percent."""
    return means(per_query(judge(found, split.relevant), METRICS))


def measured(args: argparse.Namespace, data: DataSet, split: Split, done: set[tuple[str, ...]]) -> Iterator[list[str]]:
    """The rows of the output, in the order of :data:`COLUMNS`."""
    asked = [data.name, args.split, str(len(data.passages))]
    for name, without in product(args.model, (False, True)):
        left = [
            (engine, construction)
            for engine, construction in product(args.engine, args.ef_construction)
            if any((name, *asked, str(without), engine, str(construction), str(ef)) not in done for ef in args.ef)
        ]
        if not left:
            continue
        queries, corpus = vectors(name, data, split, args.keep)
        if without:
            queries, corpus = centred(queries, corpus)
        exact = ExactIndex(corpus).search(queries, NEAREST)[1]
        best = recalls(exact, split)
        told = [mean_norm(corpus), hubness(exact, len(corpus)), *best.values()]
        for engine, construction in left:
            config, graph = IndexConfig(engine, args.m, construction, min(args.ef), args.threads), args.keep / "graph"
            start = perf_counter()
            index = build(corpus, config, 0)
            built = perf_counter() - start
            index.save(graph)
            for ef in args.ef:
                index = read(graph, corpus, replace(config, ef=ef))
                start = perf_counter()
                found = index.search(queries, NEAREST)[1]
                searched = perf_counter() - start
                lost = [best[name] - value for name, value in recalls(found, split).items()]
                row = [*(f"{value:.3f}" for value in told), engine, str(construction), str(ef)]
                yield [name, *asked, str(without), *row, *(f"{value:.3f}" for value in (*lost, built, searched))]
            graph.unlink()


def words(listed: str) -> list[str]:
    return listed.split(",")


def numbers(listed: str) -> list[int]:
    return [int(word) for word in words(listed)]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", action="append", required=True)
    options.add_argument("--data", required=True)
    options.add_argument("--split", default="test")
    options.add_argument("--engine", type=words, default="hnswlib,faiss")
    options.add_argument("--ef-construction", type=numbers, default="100,200,400")
    options.add_argument("--ef", type=numbers, default="100,200,400")
    options.add_argument("--m", type=int, default=100)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--keep", type=Path, default=Path("vectors"))
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("settings", nargs="*")
    args = options.parse_intermixed_args()
    data = load(resolve([f"data={args.data}", *args.settings]).data)
    header = not args.out.exists() or args.out.stat().st_size == 0
    with args.out.open("a+", newline="") as file:
        file.seek(0)
        rows = csv.DictReader(file, delimiter="\t")
        done = {tuple(row[name] for name in IDENTITY) for row in rows}
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        if header:
            writer.writerow(COLUMNS)
        for row in measured(args, data, data.splits[args.split], done):
            writer.writerow(row)
            file.flush()
            print("\t".join(row), flush=True)


if __name__ == "__main__":
    main()
