"""Seconds and memory of each phase of an evaluation, over a corpus as large as one likes.

    python benchmarks/scale.py --data ../shared/data/classical_modern --encoder ../shared/models/zh_e5_small_4l
        --passages 300000

The corpus is that of ``--data``. Where it is too small, its passages follow again with their words or characters in
another order: texts of real lengths that mean nothing. One step is trained, and the split ``test`` is evaluated with
``--queries`` of its queries. Further words are settings, such as index.build_threads=0. The last line compares the time
of everything, from reading the files on, with encoding and the longer one of building and searching.
"""

from __future__ import annotations

import argparse
import gzip
import random
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from bench.api import run

PHASES = ("encode", "index", "search", "exact")


def lines(path: Path) -> list[str]:
    """The lines of ``path``, or of the same name with .gz."""
    packed = path.with_name(f"{path.name}.gz")
    if not path.exists() and packed.exists():
        return gzip.decompress(packed.read_bytes()).decode().splitlines()
    return path.read_text().splitlines()


def disordered(texts: list[str]) -> Iterator[str]:
    """The texts again and again, each with its words (its characters, if there are no words) in a random order."""
    rng = random.Random(0)
    while True:
        for text in texts:
            words = text.split(" ")
            parts, glue = (words, " ") if len(words) > 1 else (list(text), "")
            rng.shuffle(parts)
            yield glue.join(parts)


def write(data: Path, place: Path, passages: int, queries: int) -> None:
    """A data set with a corpus of that size in ``place``."""
    train, test = lines(data / "train.tsv")[:1000], lines(data / "test.tsv")[:queries]
    positives = dict.fromkeys(line.split("\t")[1] for line in (*train, *test))
    corpus = dict.fromkeys((*positives, *lines(data / "corpus.tsv")))
    known = list(corpus)[:passages]
    more = disordered(known)
    distinct = dict.fromkeys(known)
    while len(distinct) < passages:
        distinct[next(more)] = None
    for name, texts in (("train", train), ("test", test), ("corpus", list(distinct))):
        (place / f"{name}.tsv").write_text("\n".join(texts) + "\n")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--encoder", required=True)
    options.add_argument("--passages", type=int, default=300_000)
    options.add_argument("--queries", type=int, default=1000)
    options.add_argument("settings", nargs="*")
    args = options.parse_intermixed_args()
    with TemporaryDirectory() as folder:
        place = Path(folder, "data")
        place.mkdir()
        write(args.data, place, args.passages, args.queries)
        began = perf_counter()
        settings = [
            "strategy=mnr", f"data={place}", f"encoder={args.encoder}", "train.max_steps=1", "train.warmup=0",
            "eval.untrained=false", "track=none", f"runs_dir={folder}/runs", *args.settings,
        ]  # fmt: skip
        record = run(settings).record
        everything = perf_counter() - began
    cost = {name: value or 0.0 for name, value in record.cost.items()}
    for phase in PHASES:
        print(f"{phase:>8} {cost[f'{phase}_s']:8.1f} s {cost[f'{phase}_mb']:8,.0f} MB")
    print(f"{'all':>8} {everything:8.1f} s {cost['peak_memory_mb']:8,.0f} MB, {cost['texts_per_s']:,.0f} texts/s")
    alone = cost["encode_s"] + max(cost["index_s"], cost["search_s"])
    print(f"{everything / alone:.2f} times encoding and the longer one of building and searching")


if __name__ == "__main__":
    main()
