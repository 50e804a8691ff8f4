"""From files as people have them to a table, in two commands: ``bench data inspect`` and ``bench run``."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pytest
from layouts import PASSAGES, QUERIES, WRONG, csv, jsonl, write
from tiny import bench, words_for
from tiny_runs import record_of, runs_in

COLUMNS = {"anchor": QUERIES, "positive": PASSAGES, "negative": WRONG}


def parquet() -> bytes:
    file = io.BytesIO()
    pd.DataFrame(COLUMNS).to_parquet(file)
    return file.getvalue()


def beir(splits: dict[str, range], line: str, more: str = "") -> dict[str, str | bytes]:
    """BEIR's layout; ``more`` are lines of every file of judgments."""
    files: dict[str, str | bytes] = {
        "corpus.jsonl": jsonl({"_id": str(i), "title": "", "text": p} for i, p in enumerate([*PASSAGES, *WRONG, ""])),
        "queries.jsonl": jsonl({"_id": str(i), "text": q} for i, q in enumerate(QUERIES)),
    }
    for split, numbers in splits.items():
        header = line.format("query-id", "corpus-id", "score")
        files[f"qrels/{split}.tsv"] = header + "".join(line.format(i, i, 1) for i in numbers) + more
    return files


SHEET = csv(";", question=QUERIES, answer=PASSAGES).replace("\n", "\r\n")
ROWS = jsonl(dict(zip(COLUMNS, row, strict=True)) for row in zip(*COLUMNS.values(), strict=True))
FIQA = {"train": range(24), "dev": range(24, 32), "test": range(32, 40)}
PLAIN, WINDOWS = "{}\t{}\t{}\n", "{}\t{}\t{}\r\n"
CUT = "queries of train that became test, chosen by a hash of their text"
DANGLING = "left out (data.skip_broken): judgment of a passage id that is missing"

LAYOUTS: dict[str, tuple[dict[str, str | bytes], list[str], str]] = {
    "scifact": (
        beir({"train": range(30), "test": range(30, 40)}, WINDOWS, "39\t39\t1\r\n" * 2),
        [],
        "repeated pairs of test, joined",
    ),
    "fiqa": (beir(FIQA, PLAIN), [], "empty passages left out"),
    "arguana": (
        beir({"test": range(40)}, PLAIN, "39\tgone\t1\n"),
        ["data.skip_broken=true", "train.max_steps=0"],
        DANGLING,
    ),
    "sheet.csv": ({"sheet.csv": SHEET.encode("utf-8-sig")}, [], "sheet.csv begins with a byte order mark"),
    "st.jsonl": ({"st.jsonl": ROWS}, [], CUT),
    "st.parquet": ({"st.parquet": parquet()}, [], CUT),
}
"""Files, settings, and what is counted."""


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_is_inspected_and_run_as_it_is(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    files, words, notice = LAYOUTS[name]
    folder = write(tmp_path / name, files)
    place = folder / name if name in files else folder
    assert bench("data", "inspect", str(place), *(word for word in words if word.startswith("data."))) == 0
    assert notice in " ".join(capsys.readouterr().out.split())
    settings = words_for(place, tmp_path / "runs") | {"train.max_steps": "1"} | dict(word.split("=") for word in words)
    assert bench("run", *(f"{key}={value}" for key, value in settings.items())) == 0
    (directory,) = runs_in(tmp_path / "runs").values()
    record = record_of(directory)
    assert record.split == "test" and record.metrics["exact/recall@5"] is not None
    assert record.data["notices"][notice] >= 1
    assert "R@1" in capsys.readouterr().out


def test_a_run_without_the_word_says_which_word_it_needs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = write(tmp_path / "arguana", LAYOUTS["arguana"][0])
    assert bench("data", "inspect", str(place)) == 2
    assert "data.skip_broken=true leaves all of them out" in capsys.readouterr().out
    settings = words_for(place, tmp_path / "runs")
    assert bench("run", *(f"{key}={value}" for key, value in settings.items())) == 2
    assert "data.skip_broken=true leaves all of them out" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["seed=1", "data.name=other", "data.nonsense=1"])
def test_inspect_takes_settings_of_the_data_only(tmp_path: Path, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    place = write(tmp_path, {"sheet.csv": csv(question=QUERIES, answer=PASSAGES)})
    assert bench("data", "inspect", str(place), word) == 2
    assert word.split("=")[0] in capsys.readouterr().err
