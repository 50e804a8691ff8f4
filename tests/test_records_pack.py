"""Packed records: reports and comparisons of the pack are those of the runs, and no text of the data is in it."""

from __future__ import annotations

import io
import json
import lzma
import re
import tarfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from records import LEVELS, Runs, run
from tiny import bench, words_for, write_data
from tiny_runs import runs_in

from bench.compare.per_query import of_runs
from bench.errors import UserError
from bench.record import archive
from bench.record.files import files_at
from bench.record.ledger import read
from bench.record.record import Record
from bench.record.store import RunDirectory

MIB = 2**20


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four real runs on the tiny data, with dev evaluations."""
    root = tmp_path_factory.mktemp("trained")
    write_data(root / "tiny")
    given = {**words_for(root / "tiny", root / "runs"), "train.eval_every": "2"}
    assert bench("run", "strategy=in_batch,hardest_neg", "seed=1,2", *(f"{k}={v}" for k, v in given.items())) == 0
    return root


def pack(runs: Path, out: Path, *words: str) -> Path:
    assert bench("records", "pack", *words, "--runs-dir", str(runs), "--out", str(out)) == 0
    return out


def report(runs: Path, out: Path) -> dict[str, str]:
    """Every file of a report of ``runs``, less the hardest queries, by name."""
    assert bench("report", "--runs-dir", str(runs), "--out", str(out)) == 0
    found = {str(f.relative_to(out)): f.read_bytes() for f in sorted(out.rglob("*")) if f.is_file()}
    markdown = found["report.md"].decode()
    hardest = r"<details>\s*<summary>Hardest queries</summary>.*?</details>\s*"
    return {"report.md": re.sub(hardest, "", markdown, flags=re.DOTALL), **{
        name: str(hash(content)) for name, content in found.items() if name.startswith("figures/")
    }}  # fmt: skip


def test_a_smaller_pack_is_tested_by_the_headline_or_not_at_all(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(runs: Path, metric: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = bench("compare", "--runs-dir", str(runs), "--metric", metric)
        found = capsys.readouterr()
        return status, found.out, found.err

    whole = pack(trained / "runs", tmp_path / "whole")
    small = pack(trained / "runs", tmp_path / "small", "--items", "headline")
    assert told(small, "recall@1")[1] == told(whole, "recall@1")[1] and " p" in told(small, "recall@1")[1]
    assert "no values of" in " ".join(told(small, "exact/recall@1")[1:])
    bare = pack(trained / "runs", tmp_path / "bare", "--items", "none")
    assert "is missing" in " ".join(told(bare, "recall@1")[1:])
    sizes = [(place / "records.tar.xz").stat().st_size for place in (whole, small, bare)]
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == 3


def test_the_report_of_a_pack_is_that_of_the_runs(trained: Path, tmp_path: Path) -> None:
    packed = pack(trained / "runs", tmp_path / "packed")
    ours, theirs = report(trained / "runs", tmp_path / "a"), report(packed, tmp_path / "b")
    assert ours.keys() == theirs.keys() and any("learning" in name for name in ours)
    assert ours == theirs
    assert "Hardest queries" in (tmp_path / "a" / "report.md").read_text()
    assert "Hardest queries" not in (tmp_path / "b" / "report.md").read_text()


def test_the_comparison_of_a_pack_is_that_of_the_runs(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = pack(trained / "runs", tmp_path / "packed")
    capsys.readouterr()
    shown = []
    for root in (trained / "runs", packed):
        assert bench("compare", "strategy=in_batch,hardest_neg", "--every-pair", "--runs-dir", str(root)) == 0
        shown.append(capsys.readouterr())
    assert shown[0] == shown[1] and "hardest_neg" in shown[0].out


def anywhere(records: Sequence[Record]) -> list[Record]:
    """The records without the directory of their runs, which is nobody else's."""
    return [replace(record, config={**record.config, "runs_dir": "runs"}) for record in records]


def test_records_histories_and_values_are_exactly_those_of_the_runs(trained: Path, tmp_path: Path) -> None:
    packed = pack(trained / "runs", tmp_path / "packed")
    ledger = read(trained / "runs")
    assert read(packed) == replace(ledger, records=anywhere(ledger.records))
    for record in read(packed).records:
        plain = pd.read_parquet(trained / "runs" / record.run_id / "ranks.parquet")
        kept = pd.read_parquet(files_at(packed).source(f"{record.run_id}/ranks.parquet"))
        numbers = [name for name in plain if not name.endswith(("passages", "scores", "_id", "_ids"))]
        assert list(kept) == numbers
        pd.testing.assert_frame_equal(kept, plain[numbers], check_exact=True, check_dtype=False)
        dev = [event for event in files_at(trained / "runs").history(record.run_id) if "dev/exact/mrr@10" in event]
        assert dev and dev == [e for e in files_at(packed).history(record.run_id) if "dev/exact/mrr@10" in e]


def test_values_that_are_no_round_numbers_come_back_as_they_were(tmp_path: Path) -> None:
    values = np.array([100 / 3, 200 / 3, 0.1 + 0.2, 5e-324, 99.99999999999999, 100.0])
    record = run("mnr", 1, metrics={"recall@1": float(values.mean())})
    with RunDirectory.open(tmp_path / "runs", record.run_id) as directory:
        directory.write_items(pd.DataFrame({"query": np.arange(6), "recall@1": values}), "ranks.parquet")
        directory.write_record(record)
    packed = pack(tmp_path / "runs", tmp_path / "packed")
    queries, found = of_runs(packed)(record, "recall@1")
    assert np.array_equal(found, values) and np.array_equal(queries, np.arange(6))
    with pytest.raises(UserError, match=r"recall@7"):
        of_runs(packed)(record, "recall@7")


def test_no_text_of_the_data_is_in_a_pack(trained: Path, tmp_path: Path) -> None:
    content = lzma.decompress((pack(trained / "runs", tmp_path / "packed") / archive.NAME).read_bytes())
    texts = [line.split("\t") for line in (trained / "tiny" / "test.tsv").read_text().splitlines()]
    hardest = next(iter(runs_in(trained / "runs").values())) / "hardest.json"
    assert texts and all(query in hardest.read_text() for query, _ in texts), "the runs do hold them"
    for text in {text for pair in texts for text in pair}:
        assert text.encode() not in content
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        names = {name.split("/")[-1] for name in tar.getnames()}
    assert names == {"pack.json", "record.json", "history.jsonl", "ranks.parquet"}


def test_the_same_runs_give_the_same_bytes(trained: Path, tmp_path: Path) -> None:
    first = (pack(trained / "runs", tmp_path / "a") / archive.NAME).read_bytes()
    (trained / "runs" / runs_in(trained / "runs").popitem()[0] / "record.json").touch()
    assert (pack(trained / "runs", tmp_path / "b") / archive.NAME).read_bytes() == first
    assert (pack(tmp_path / "a", tmp_path / "c") / archive.NAME).read_bytes() == first, "a pack can be packed"
    assert not list(tmp_path.rglob("*.part"))


def test_ids_and_filters_choose_the_runs(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = trained / "runs"
    some = [record.run_id for record in read(runs).records if record.strategy == "in_batch"]
    assert [r.run_id for r in read(pack(runs, tmp_path / "a", "strategy=in_batch")).records] == some
    assert [r.run_id for r in read(pack(runs, tmp_path / "b", *some)).records] == some
    assert [r.run_id for r in read(pack(runs, tmp_path / "c", *some, "seed=1")).records] == some[:1]
    capsys.readouterr()
    for words, message in (
        (["nothing-here"], "has no finished run 'nothing-here'"),
        (["strategy=queue"], "no record has strategy=queue"),
    ):
        assert bench("records", "pack", *words, "--runs-dir", str(runs), "--out", str(tmp_path / "d")) == 2
        told = capsys.readouterr().err
        assert message in told and "Traceback" not in told
    assert bench("records", "pack", "--runs-dir", str(runs), "--out", str(runs)) == 2
    assert "directory of runs" in capsys.readouterr().err and not (runs / archive.NAME).exists()


def test_a_study_goes_with_its_final_runs(margin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packed = pack(margin, tmp_path / "all")
    assert read(packed).records == anywhere(read(margin).records) and read(packed).searched == []
    ours, theirs = report(margin, tmp_path / "a"), report(packed, tmp_path / "b")
    assert ours == theirs and "margin" in ours["report.md"]
    capsys.readouterr()
    one = read(margin).records[0].run_id
    part = pack(margin, tmp_path / "part", one)
    assert "left out: study margin" in capsys.readouterr().err
    assert files_at(part).names("studies/*/study.json") == []
    whole = pack(margin, tmp_path / "whole", one, "--studies")
    assert (whole / archive.NAME).read_bytes() == (packed / archive.NAME).read_bytes()


def test_a_sweep_of_three_hundred_runs_is_small(tmp_path: Path) -> None:
    """300 runs of 1,500 queries with all columns of a retrieval: under 5 MiB."""
    rng, levels = np.random.default_rng(0), [f"strategy_{number}" for number in range(60)]
    difficulty = rng.random(1500)
    for record in Runs(dict.fromkeys(levels, 0.5), seeds=(1, 2, 3, 4, 5)).records:
        with RunDirectory.open(tmp_path / "runs", record.run_id) as directory:
            columns: dict[str, object] = {"query": np.arange(1500), "n_relevant": np.ones(1500, dtype=int)}
            for prefix in ("", "exact/"):
                rank = 1 + np.floor(60 * np.clip(difficulty + rng.normal(0, 0.1, 1500), 0, 1)).astype(int)
                columns[f"{prefix}rank"] = pd.arrays.IntegerArray(rank, rank > 50)
                for name in ("recall", "hit"):
                    columns |= {f"{prefix}{name}@{k}": 100.0 * (rank <= k) for k in (1, 5, 10, 20, 50)}
                columns[f"{prefix}mrr@10"] = np.where(rank <= 10, 100 / rank, 0)
                columns[f"{prefix}ndcg@10"] = np.where(rank <= 10, 100 / np.log2(rank + 1), 0)
            directory.write_items(pd.DataFrame(columns), "ranks.parquet")
            for step in range(10, 110, 10):
                event = {name: float(rng.random()) for name in ("loss", "positive_similarity", "hardest_similarity")}
                directory.append_history({"step": step, **event})
            directory.write_record(record)
    size = (pack(tmp_path / "runs", tmp_path / "packed") / archive.NAME).stat().st_size
    assert size < 5 * MIB, f"{size / MIB:.1f} MiB"


# What cannot be read


def head(path: Path, **changes: object) -> None:
    """Change what a pack says of itself."""
    content = lzma.decompress(path.read_bytes())
    there = re.search(rb'\{"format": [^}]*\}', content)
    assert there is not None
    new = json.dumps({**json.loads(there[0]), **changes}).encode()
    assert len(new) == len(there[0]), "an archive of the same length"
    path.write_bytes(lzma.compress(content.replace(there[0], new)))


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    return pack(Runs(LEVELS).write(tmp_path / "runs"), tmp_path / "packed")


@pytest.mark.parametrize("command", ["report", "compare"])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: head(path, version=9), "version 9, this negbench reads up to 1; update it"),
        (lambda path: head(path, format="negbench sweeper"), "another kind of archive"),
        (lambda path: head(path, files=99), "files of 99"),
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "broken packed records"),
        (lambda path: path.write_bytes(b"no archive at all"), "broken packed records"),
        (lambda path: path.write_bytes(b""), "broken packed records"),
        (lambda path: path.write_bytes(lzma.compress(b"x" * 4096)), "broken packed records"),
    ],
)
def test_a_pack_that_cannot_be_read_is_one_line(
    command: str, spoil: object, message: str, packed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(read(packed).records) == 9
    spoil(packed / archive.NAME)  # type: ignore[operator]
    capsys.readouterr()
    assert bench(command, "--runs-dir", str(packed)) == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1 and message in err, err


def test_a_broken_file_of_a_run_is_named_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = Runs(LEVELS).write(tmp_path / "runs")
    broken = next(runs.glob("mnr*/ranks.parquet"))
    broken.write_bytes(b"PAR1")
    torn = next(runs.glob("in_batch*/record.json")).with_name("history.jsonl")
    torn.write_text("{\n")
    assert bench("records", "pack", "--runs-dir", str(runs), "--out", str(tmp_path / "out")) == 0
    told = capsys.readouterr().err
    assert f"left out: {broken}: cannot be read" in told and f"left out: {torn}:1: not a JSON object" in told
    names = archive.unarchive(tmp_path / "out" / archive.NAME)
    kept = {name.split("/")[0] for name in names if name.endswith(".parquet")}
    assert kept == {path.name for path in runs.iterdir()} - {broken.parent.name}
