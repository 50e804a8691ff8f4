"""The report of sentence similarity: its items are pairs, and nothing of it speaks of queries, ranks or an index."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from records import Runs, run
from tiny import bench, words_for, write_task

from bench.record.ledger import read
from bench.record.store import RunDirectory
from reports.blocks import Block, Section, Table
from reports.parts import parts
from reports.provenance import provenance
from reports.report import build, text
from reports.training import labelled, negatives


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two strategies with two seeds each on a small task."""
    root = tmp_path_factory.mktemp("similarity")
    given = words_for(write_task(root / "tiny-sts"), root / "runs") | {"train.max_steps": "2", "train.eval_every": "1"}
    for strategy in (["cosent"], ["similarity_distil", "strategy.texts=tasks", "strategy.teacher=scratch"]):
        words = [f"strategy={strategy[0]}", *strategy[1:], *(f"{key}={value}" for key, value in given.items())]
        assert bench("run", *words, "seed=1,2") == 0
    return root / "runs"


def titles(blocks: tuple[Block, ...] | list[Section]) -> list[str]:
    found = [block for block in blocks if isinstance(block, Section)]
    return [title for section in found for title in (section.title, *titles(section.blocks))]


def table_of(blocks: tuple[Block, ...] | list[Section], head: str) -> Table:
    """The first table whose first column has this head."""

    def every(block: Block) -> list[Table]:
        inside = block.blocks if isinstance(block, Section) else ()
        return [block] if isinstance(block, Table) else [found for one in inside for found in every(one)]

    return next(found for block in blocks for found in every(block) if found.header[0] == head)


def test_the_sections_are_those_of_the_kind_of_evaluation(trained: Path, tmp_path: Path) -> None:
    found = build(read(trained), trained, figures=tmp_path).sections
    told = titles(found)
    assert {"spearman of every row", "All metrics", "Hardest pairs", "Pairs in training", "Learning curves"} <= {*told}
    assert not [title for title in told if re.search("cut-off|queries|against exact|Hardness", title)]
    shown = text(build(read(trained), trained))
    ours = " ".join(line for line in shown[: shown.index("## Published")].splitlines() if not line.startswith("bench"))
    equal = ours[ours.index("Equal in all rows") :].partition(". ")[0]
    assert "eval.split=test" in equal and not re.search(r"index\.|eval\.(ks|retrieve)", equal)
    assert not re.search("quer(y|ies)|exact search", re.sub(r"max_query_tokens|eval_queries", "", ours))
    assert "over pairs and seeds" in ours and "| pairs won | pairs lost |" in ours


def test_the_hardest_pairs_stand_with_score_and_cosine(trained: Path) -> None:
    """The first is the pair whose ranks differ most, by the run's own file of pairs."""
    (group,) = parts(read(trained).records, trained)
    first = group.comparison.rows[0].group.records[0]
    items = pd.read_parquet(trained / first.run_id / "pairs.parquet")
    off = (items["cosine"].rank() - items["score"].rank()).abs()
    table = table_of(build(read(trained), trained).sections, "left")
    assert table.header == ("left", "right", "task", "score", "cosine")
    left, right, task, score, cosine = table.rows[0].cells
    assert (
        off[(items["score"] == score.value) & (items["cosine"].round(6) == round(cosine.value or 0, 6))].max()
        == off.max()
    )
    assert task.text == "tiny-sts" and left.text.split()[-1] == right.text.split()[-1]


@pytest.mark.parametrize(
    "damage", [{"row": -1}, {"score": "much"}, {"left": None}, {"cosine": None}, {"row": 0.5}, {"task": 3}]
)
def test_a_damaged_file_of_hardest_pairs_is_told(trained: Path, tmp_path: Path, damage: dict[str, object]) -> None:
    (worst,) = RunDirectory(trained, read(trained).records[0].run_id).read_hardest("similarity")[:1]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "hardest.json").write_text(json.dumps([worst | damage]))
    with pytest.raises(Exception, match=r"hardest\.json"):
        RunDirectory(tmp_path, "run").read_hardest("similarity")


def test_the_pairs_of_each_split_stand_in_the_provenance(trained: Path) -> None:
    section = provenance(parts(read(trained).records, trained), ())
    assert section is not None
    table = table_of((section,), "data set")
    assert dict(zip(table.header, (cell.text for cell in table.rows[0].cells), strict=True))["pairs of texts"] == (
        "tiny-sts: train 12, dev 9, test 30"
    )


def test_telemetry_of_pairs_and_of_negatives_stand_apart(tmp_path: Path) -> None:
    """A row of labelled pairs has no negatives, and its active pairs are not queries."""
    told = {
        "cosent": {"pair_similarity": 0.5, "active": 1.0, "spread": 0.1},
        "mnr": {"hardest_similarity": 0.4, "active": 0.5, "negatives": 31.0},
    }
    records = [run(name, 1, metrics={"recall@1": 1.0}, training={"telemetry": values}) for name, values in told.items()]
    (group,) = parts(records, tmp_path)
    of_pairs, of_negatives = labelled(group.comparison), negatives(group.comparison)
    assert of_pairs is not None and of_negatives is not None
    for section, name, heads in (
        (of_pairs, "cosent", ("strategy", "pair's cosine", "active pairs", "spread")),
        (of_negatives, "mnr", ("strategy", "negatives", "hardest negative's cosine", "active queries")),
    ):
        table = table_of((section,), "strategy")
        assert table.header == heads and [row.cells[0].text for row in table.rows] == [name]


def test_each_kind_is_compared_by_its_own_headline(trained: Path, tmp_path: Path) -> None:
    """A report of both kinds names the metric in front, where values of both stand in one column."""
    root = tmp_path / "runs"
    shutil.copytree(trained, root)
    Runs({"mnr": 0.5, "in_batch": 0.7}).write(root)
    found = parts(read(root).records, root)
    assert {part.comparison.metric for part in found} == {"recall@1", "spearman"}
    assert not any("compared by" in note for part in found for note in part.comparison.notes)
    table = table_of((build(read(root), root).sections[0],), "data set")
    values = {row.cells[0].text.split(",")[0]: row.cells[1].text for row in table.rows}
    assert "(recall@1 " in values["faq"] and "(spearman " in values["tiny-sts"]


def test_the_table_of_a_tracker_is_named_after_the_items(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables: dict[str, pd.DataFrame] = {}

    class Listening:
        def __getattr__(self, name: str) -> object:
            return lambda *given, **_: tables.update({given[0]: given[1]}) if name == "table" else None

    monkeypatch.setattr("bench.run.lifecycle.make_tracker", lambda mode, directory: Listening())
    given = words_for(write_task(tmp_path / "tiny-sts"), tmp_path / "runs") | {"train.max_steps": "0"}
    assert bench("run", *(f"{key}={value}" for key, value in given.items())) == 0
    ((name, table),) = tables.items()
    assert name == "worst_pairs" and {"left", "right", "score", "cosine"} <= {*table.columns}
