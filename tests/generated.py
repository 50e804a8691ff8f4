"""Generated inputs: words of the command line, files of a data set, files of a run. Each is a command to be tried.

A generator takes a source of randomness, a directory of its own, the tiny data and a directory with finished runs.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

from tiny import words_for

ODD = [
    "", " ", "-1", "0", "1e308", "-0.0", "nan", "inf", "null", "true", "9" * 5000, "x" * 300, "[]", "{}", "[1,2",
    "{a:b}", "1,2,", ",", "'", '"', "\\", "$HOME", "${seed}", "???", "glob(*)", "choice(1,2)", "range(1,3)",
    "/dev/null", "/", "..", "\u0000", "\ufeff", "é", "問い", "🙂", "a=b", "a b", "%s", "1_000", "0x10", "+", "a+b",
    "in_batch+",
    "~", "#",
]  # fmt: skip
KEYS = [
    "strategy", "strategy.scale", "strategy.margin", "data", "data.max_train", "data.max_corpus", "encoder",
    "encoder.pooling", "encoder.layers", "encoder.max_query_tokens", "encoder.query_prefix", "train.batch_size",
    "train.micro_batch", "train.epochs", "train.max_steps", "train.lr", "train.warmup", "train.precision",
    "train.stage_steps", "train.init_from", "eval.ks", "eval.retrieve", "eval.split", "index.engine", "index.m",
    "index.ef", "budget.seconds", "budget.texts", "mining.memory_mb", "device", "track", "seed", "runs_dir", "stages",
    "metric", "nonsense", "train", "train.", ".", "",
]  # fmt: skip
LINES = [
    "a\tb", "a\tb\tc", "a", "\t", "a\t", "\tb", "a\tb\t0.5", "a\tb\tc\tnan", '"a\tb"\tc', "\ufeffa\tb", "a\rb",
    "a\tb\r", "query\tpassage", "x" * 70_000 + "\tb", "a\tb" + "\tc" * 400, "\u0000\tb", "é\t問い", "a\ta", "0\t1",
    "a,b,c", "", '{"query": "a", "positive": "b"}', '{"query": 1}', "[]", "null", "a\\tb", "\u2028\tb",
]  # fmt: skip
NAMES = ["train.tsv", "dev.tsv", "test.tsv", "corpus.tsv", "dev_hard.tsv", "train.jsonl", "qrels.tsv", "more.csv"]


def a_word(rng: Random) -> str:
    return f"{rng.choice(KEYS)}{rng.choice(['=', '=', '=', '', '==', ' = '])}{rng.choice(ODD)}"


def words(rng: Random, place: Path, data: Path, runs: Path) -> list[str]:
    """Odd settings, shown and not run: what they would cost is not the question."""
    odd = [a_word(rng) for _ in range(rng.choice([1, 1, 2]))]
    before = rng.choice(
        [
            ["run", "--print-config"],
            ["run", "--print-config", *(f"{key}={word}" for key, word in words_for(data, runs).items())],
            ["compare", "--runs-dir", str(runs)],
            ["compare", "--runs-dir", str(runs), "--metric", rng.choice(ODD)],
            ["study", rng.choice(["margin", "nosuch", *ODD]), "trials=0"],
            ["run", "--again", rng.choice(ODD)],
        ]
    )
    return [*before, *odd]


def files(rng: Random, place: Path, data: Path, runs: Path) -> list[str]:
    """A data set of which some files have odd lines or are something else; it is trained on for a step or inspected."""
    shutil.copytree(data, place)
    for _ in range(rng.choice([1, 1, 2, 3])):
        path = place / rng.choice(NAMES)
        lines = path.read_bytes().split(b"\n") if path.is_file() else []
        change = rng.randrange(6)
        if change == 0:
            _remove(path)
            rng.choice([path.mkdir, path.touch, lambda path=path: path.symlink_to(place / "nowhere")])()
        elif change == 1:
            path.write_bytes(b"\n".join(lines)[: rng.randrange(1 + sum(map(len, lines)))])
        elif change == 2:
            path.write_bytes(rng.choice([b"\xff\xfe", b"\xef\xbb\xbf", b"\x00", b"\r\n", b"\x80"]) + b"\n".join(lines))
        elif not path.is_dir():
            odd = rng.choice(LINES).encode()
            lines.insert(rng.randrange(1 + len(lines)), odd)
            path.write_bytes(b"\n".join(lines * rng.choice([1, 1, 1, 2])))
    if rng.random() < 0.8:
        return ["data", "inspect", str(place)]
    settings = words_for(place, place / "runs") | {"train.max_steps": "1", "eval.untrained": "false"}
    return ["run", *(f"{key}={word}" for key, word in settings.items())]


def records(rng: Random, place: Path, data: Path, runs: Path) -> list[str]:
    """Finished runs of which one file is damaged; they are compared, reported or gone on with."""
    shutil.copytree(runs, place)
    file = rng.choice(sorted(path for path in place.glob("*/*") if path.is_file() and path.name != ".lock"))
    content = file.read_bytes()
    change = rng.randrange(5)
    if change == 0:
        file.write_bytes(content[: rng.randrange(1 + len(content))])
    elif change == 1:
        at = rng.randrange(1 + len(content))
        file.write_bytes(content[:at] + rng.choice(ODD).encode() + content[at:])
    elif change == 2:
        file.write_bytes(bytes(len(content)))
    elif change == 3:
        kinds = [b"12.5", b"1,", b'"recall@1"', b": {", b"null", b"true"]
        file.write_bytes(content.replace(rng.choice(kinds), rng.choice(ODD).encode(), rng.choice([1, -1])))
    else:
        _remove(file)
        file.mkdir()
    again = next(path.name for path in sorted(place.iterdir()) if (path / ".lock").exists())
    return rng.choice(
        [
            ["compare", "--runs-dir", str(place)],
            ["report", "--runs-dir", str(place), "--out", str(place / "report")],
            ["run", "--again", again, f"runs_dir='{place}'"],
        ]
    )


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


INPUTS: dict[str, Callable[[Random, Path, Path, Path], list[str]]] = {
    "words": words,
    "files": files,
    "more words": words,
    "records": records,
}
