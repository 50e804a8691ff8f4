"""A data set of a few files and the command line on it, for tests of whole runs."""

from __future__ import annotations

import random
from pathlib import Path

from bench.cli import main

WORDS = [a + b for a in ("ka", "lo", "mi", "nu", "pe", "ri") for b in ("ban", "dor", "fel", "gim", "hux")]
QUERIES, PASSAGES = 40, 60  # 24 queries train, 8 dev, 8 test; 4 of dev are hard


def write_data(path: Path) -> Path:
    """A TAB-separated data set: a query shares two of its words with its passage."""
    rng = random.Random(0)
    path.mkdir(parents=True)
    passages = [f"{' '.join(rng.sample(WORDS, 5))} {number}" for number in range(PASSAGES)]
    pairs = [
        f"{' '.join(rng.sample(passages[n].split()[:5], 2))} {rng.choice(WORDS)}\t{passages[n]}" for n in range(QUERIES)
    ]
    files = {"corpus": passages, "train": pairs[:24], "dev": pairs[24:32], "test": pairs[32:], "dev_hard": pairs[24:28]}
    for name, lines in files.items():
        (path / f"{name}.tsv").write_text("\n".join(lines) + "\n")
    return path


def write_task(path: Path) -> Path:
    """A sentence similarity task of 12, 9 and 30 pairs, whose score is the number of words that a pair shares."""
    rng = random.Random(0)
    path.mkdir(parents=True)
    for split, count in {"train": 12, "dev": 9, "test": 30}.items():
        lines = []
        for n in range(count):
            left, common = rng.sample(WORDS, 6), rng.randrange(6)
            right = left[:common] + rng.sample([word for word in WORDS if word not in left], 6 - common)
            lines.append(f"{' '.join(left)} {n}\t{' '.join(right)} {n}\t{common}")
        (path / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    return path


def words_for(data: Path, runs: Path) -> dict[str, str]:
    """Settings of a run that takes a second: four steps of a small encoder, in the same numbers everywhere."""
    return {
        "data": f"'{data}'",
        "runs_dir": f"'{runs}'",
        "encoder": "scratch",
        "device": "cpu",
        "track": "none",
        "train.epochs": "9",
        "train.max_steps": "4",
        "train.batch_size": "8",
        "train.lr": "1e-3",
        "train.precision": "fp32",
        "train.log_every": "2",
        "index.threads": "1",
        "eval.ks": "[1,5]",
        "eval.retrieve": "20",
    }


def bench(*words: str) -> int:
    """The exit status of ``bench WORDS``, here in this process. What is no exit is a traceback, and is raised."""
    try:
        main(list(words))
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    return 0
