"""What was published stays what it is: every published command is still the run that it was."""

from __future__ import annotations

import io
import json
import re
import runpy
import shlex
import sys
from contextlib import redirect_stdout
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny import bench

from bench.compare.select import select
from bench.config.overrides import expand, resolve
from bench.config.run import RunConfig
from bench.record.files import files_at
from bench.record.ledger import read
from reports.documented import documented
from reports.gate import against
from reports.parts import parts

PROJECT = Path(__file__).parents[1]
RESULTS = PROJECT / "reports" / "results"
EARLIER = RESULTS / "2026-11"


def test_every_published_command_is_still_the_run_that_it_was() -> None:
    """``run_ids.tsv`` was written by the program that made the records: run id, fingerprint of the data, overrides."""
    published = [line.split("\t") for line in (EARLIER / "run_ids.tsv").read_text(encoding="utf-8").splitlines()]
    assert len(published) > 250
    known: dict[tuple[str, ...], RunConfig] = {}
    for run_id, fingerprint, overrides in published:
        words = shlex.split(overrides)
        (seed,) = (int(word.removeprefix("seed=")) for word in words if word.startswith("seed="))
        rest = tuple(word for word in words if not word.startswith("seed="))
        config = known[rest] if rest in known else known.setdefault(rest, resolve(rest))
        assert replace(config, seed=seed).run_id(fingerprint) == run_id, overrides


def test_every_command_of_the_published_pages_is_among_them() -> None:
    known = {line.split("\t")[2] for line in (EARLIER / "run_ids.tsv").read_text(encoding="utf-8").splitlines()}
    for page in (EARLIER / "report.md", *EARLIER.glob("studies/*/study.md")):
        for command in re.findall(r"^bench run .*", page.read_text(encoding="utf-8"), re.MULTILINE):
            for single in expand(shlex.split(command)[2:]):
                assert " ".join(map(shlex.quote, single)) in known, command


PAGES = [
    *(".", "mining", "similarity", "similarity/pooling"),
    *("tokens", "tokens/corpus", "tokens/mining", "tokens/showdown", "tokens/stages", "tokens/warmup"),
]
FAMILIES: dict[str, list[tuple[str, ...]]] = {
    ".": [(), ("train.batch_size=32",)],
    "tokens/stages": [("train.lr=3e-3",), ("train.lr=1e-3",)],
}
"""Pages whose differences are stated within these families, and not within that of all runs alone."""
STATED = {
    "../../README.md": PAGES,
    "../../docs/findings.md": PAGES,
    "README.md": ["."],
    "mining/README.md": ["mining"],
    "similarity/README.md": ["similarity"],
    "tokens/README.md": [page for page in PAGES if not page.startswith("similarity")],
}
"""Pages, and those whose records have the differences that they state."""


@pytest.mark.parametrize("page", PAGES)
def test_the_page_is_what_the_published_records_say(page: str, tmp_path: Path) -> None:
    place = RESULTS / page
    assert bench("report", "--runs-dir", str(place / "records"), "--out", str(tmp_path)) == 0
    assert (tmp_path / "report.md").read_text(encoding="utf-8") == (place / "report.md").read_text(encoding="utf-8")
    drawn = {path.name for path in (tmp_path / "figures").glob("*.png")}
    assert drawn == {path.name for path in (place / "figures").glob("*.png")} != set()


def test_the_comparison_that_readme_names_is_not_refused() -> None:
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    (words,) = re.findall(r"^bench compare --runs-dir reports/results/records(.*)$", readme, re.MULTILINE)
    assert bench("compare", "--runs-dir", str(RESULTS / "records"), *shlex.split(words)) == 0


def test_no_published_figure_has_the_markup_of_mathematics() -> None:
    drawn = [path for kind in ("svg", "html", "md") for path in RESULTS.rglob(f"*.{kind}")]
    assert len(drawn) > 60
    assert not [path for path in drawn if "mathdefault" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("page", PAGES)
def test_every_published_record_has_the_id_of_its_command(page: str) -> None:
    records = read(RESULTS / page / "records").records
    assert records
    for record in records:
        (words,) = expand(shlex.split(record.command)[2:])
        assert resolve(words).run_id(record.data["fingerprint"]) == record.run_id
        assert not re.search(r"(?<![\w.])/\w+/", record.to_json()), "a place of the machine that made it"


def test_the_published_correlations_pass_their_gates() -> None:
    """By the records alone: the article's 0.88 on STS-B dev, and what MTEB has of two encoders on test."""
    known = {entry.id: entry for entry in documented() if entry.evaluation == "similarity" and entry.gated}
    found = parts(read(RESULTS / "similarity" / "records").records, RESULTS / "similarity" / "records")
    rows = [row for part in found for row in part.comparison.rows]
    assert known and all(against(entry, rows)[1] for entry in known.values())


def printed_by(script: str, page: str, *words: str) -> list[str]:
    path, printed = PROJECT / "benchmarks" / script, io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
        patch.setattr(sys, "argv", [str(path), str(RESULTS / page / "records"), *words])
        patch.syspath_prepend(path.parent)
        runpy.run_path(str(path), run_name="__main__")
    return printed.getvalue().splitlines()


@pytest.mark.parametrize(
    ("script", "page", "words"),
    [
        ("converged.py", "tokens", ()),
        ("converged.py", "tokens/corpus", ()),
        ("converged.py", "tokens/stages", FAMILIES["tokens/stages"][0]),
        ("converged.py", "tokens/stages", FAMILIES["tokens/stages"][1]),
        ("converged.py", "tokens/warmup", ()),
        ("converged.py", ".", ()),
        ("equal_texts.py", "tokens", ("--metric", "exact/recall@1")),
        ("equal_texts.py", "tokens/corpus", ()),
    ],
)
def test_the_tables_of_a_script_are_those_of_the_records(script: str, page: str, words: tuple[str, ...]) -> None:
    readme = (RESULTS / page.partition("/")[0] / "README.md").read_text(encoding="utf-8")
    lines = [line for line in printed_by(script, page, *words) if line.startswith("| `")]
    assert lines
    for line in lines:
        assert line in readme


def test_the_table_of_readme_is_that_of_the_records() -> None:
    printed = printed_by("equal_texts.py", "tokens", "--metric", "exact/recall@1", "--short")
    rows = re.findall(r"^\| `\w+` \| 0\.003 \|.*$", (PROJECT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) == 13 and set(rows) < set(printed)


@cache
def intervals_of_the_records(page: str) -> NDArray[np.float64]:
    """Difference, low and high [n, 3] in points: every row minus every other, and what each setting of a grid does."""
    root, found = RESULTS / page / "records", list[tuple[float, ...]]()
    records, files = read(root).records, files_at(root)
    for metric in (None,) if page.startswith("similarity") else ("recall@1", "exact/recall@1"):
        for words in FAMILIES.get(page, [()]):
            for part in parts(select(records, words), root, metric):
                both = [way for pair in part.comparison.pairs for way in (pair, pair.turned())]
                found += [(way.difference, way.low, way.high) for way in both]
    for study in files.names("studies/*/study.json"):
        effects = json.loads(files.read(study)).get("effects", ())
        found += [tuple(effect["over"][name] for name in ("mean", "low", "high")) for effect in effects]
    return np.array(found).reshape(-1, 3)


@pytest.mark.parametrize("page", STATED)
def test_every_stated_difference_is_one_of_the_records(page: str) -> None:
    """``+1.3 (+0.4 to +2.1)`` in README, findings or a page of results, rounded from the records and not twice."""
    known, number = np.concatenate([intervals_of_the_records(of) for of in STATED[page]]), r"([+-]?\d+\.\d+)"
    text = re.sub(r"\s+", " ", (RESULTS / page).read_text(encoding="utf-8").replace("*", "").replace("−", "-"))
    stated = re.findall(rf"{number}(?: [a-z0-9 ]+)? \((?:95 % CI )?{number} to {number}", text)
    assert stated
    for shown in stated:
        far = np.abs(known - np.array(shown, dtype=float)).max(axis=1).min()
        assert far < 0.0501, f"{page}: {' '.join(shown)} is not a difference of any two published rows"


@pytest.mark.parametrize("page", ["index/README.md", "../../docs/findings.md"])
def test_the_tables_of_the_index_are_those_of_its_measurements(page: str) -> None:
    lines = (RESULTS / "index" / "losses.tsv").read_text(encoding="utf-8").splitlines()
    measured = [dict(zip(lines[0].split("\t"), line.split("\t"), strict=True)) for line in lines[1:]]
    columns = ("mean_norm", "exact_recall@1", "loss@1")
    tables = re.findall(r"^(?:\|.*hnswlib.*\n)(?:\|.*\n)+", (RESULTS / page).read_text("utf-8"), re.MULTILINE)
    rows = [line for table in tables for line in table.splitlines()[2:]]
    assert len(rows) >= 2
    for row in rows:
        (model,) = re.findall(r"^\| `(\w+)`", row)
        of = [m for m in measured if m["model"].startswith(model) and (m["centred"] == "True") == ("removed" in row)]
        known = [float(m[column]) for m in of for column in columns]
        for number in re.findall(r"\d+\.\d\d", row):
            assert min(abs(float(number) - value) for value in known) < 0.0051, f"{number} in {row}"
