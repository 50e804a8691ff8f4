"""Published correlations: an encoder as it is passes when data, weights and settings are the same, and only then."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from records import run
from tiny import bench, write_task

from bench.compare.row import StrategyRow
from bench.record.record import Record
from reports.blocks import Section
from reports.documented import Documented, documented
from reports.gate import against, gate, outcomes, repetition
from reports.markdown import render
from reports.parts import Part, parts

KNOWN = {entry.id: entry for entry in documented()}
ROW = Documented(
    "one",
    "As published",
    None,
    "STS-B",
    "all-mini",
    {"STS-B/spearman": 80.0},
    "a page",
    {"train.max_steps": 0, "encoder.layers": None, "encoder.post": "none", "eval.split": "test"},
    encoder="mini",
    tolerance=0.5,
    because="so it is",
    caveats=("Beware.",),
    evaluation="similarity",
    pairs={"STS-B": [1379]},
)


def sts(value: float = 80.0, encoder: dict[str, Any] | None = None, pairs: int = 1379, **changes: Any) -> Record:
    """A record of an encoder that is measured as it is, on the test pairs of STS-B."""
    metrics = {"spearman": value, "pearson": value, "STS-B/spearman": value, "STS-B/pearson": value}
    of = {"name": "mini", "layers": None, "post": "none", **(encoder or {})}
    split = changes.get("split", "test")
    data = {"name": "any", "fingerprint": "f00d", "counts": {f"STS-B_{split}_texts": pairs}}
    train = {"max_steps": 0, **changes.pop("train", {})}
    told = {"data": data, "encoder": of, "metrics": metrics, "baseline_metrics": metrics, "evaluation": "similarity"}
    told["selection"] = {"steps": train["max_steps"]}
    made = run("in_batch", 1, train=train, **{**told, **changes})
    return replace(made, config={**made.config, "encoder": of})


def parts_of(*records: Record) -> list[Part]:
    return parts(records, Path("nowhere"))


def rows(*records: Record) -> list[StrategyRow]:
    return [row for part in parts_of(*records) for row in part.comparison.rows]


@pytest.mark.parametrize(
    ("value", "said"), [(80.0, "pass"), (80.5, "pass"), (79.5, "pass"), (80.51, "FAIL, above"), (79.4, "FAIL, below")]
)
def test_an_encoder_as_it_is_passes_within_the_tolerance(value: float, said: str) -> None:
    """Its strategy and the data set's name do not matter: nothing is trained, and the pairs are those of a task."""
    found = rows(sts(value))
    assert repetition(ROW, found) == (found[0], [])
    assert [outcome for *_, outcome in outcomes(ROW, found[0])] == [said]
    assert against(ROW, found)[1] is (said == "pass")


@pytest.mark.parametrize(
    ("record", "apart"),
    [
        (sts(pairs=1361), ["data"]),
        (sts(split="dev"), ["eval.split"]),
        (sts(evaluation="retrieval"), ["data"]),
        (sts(encoder={"name": "other"}), ["backbone"]),
        (sts(encoder={"layers": [0, 1]}), ["encoder.layers"]),
        (sts(encoder={"post": "whitening"}), ["encoder.post"]),
        (sts(train={"max_steps": 100}), ["train.max_steps"]),
    ],
)
def test_other_pairs_weights_or_settings_are_no_repetition(record: Record, apart: list[str]) -> None:
    (row,) = rows(sts())
    row = replace(row, group=replace(row.group, records=(record,)))
    assert repetition(ROW, [row]) == (None, apart)


def test_a_trained_row_needs_its_training_data_and_strategy_too() -> None:
    trained = replace(ROW, strategy="mnr", data="all_nli", settings={"eval.split": "test"})
    assert repetition(trained, rows(sts()))[1] == ["data", "strategy"]


def test_of_a_split_that_lacks_repeated_pairs_both_sizes_are_the_same_data() -> None:
    entry = replace(ROW, pairs={"STS-B": [1495, 1500]})
    assert [repetition(entry, rows(sts(pairs=n)))[1] for n in (1495, 1500, 1496)] == [[], [], ["data"]]


# What is documented


def test_the_documented_gates_state_all_that_changes_the_vectors() -> None:
    """Of the published encoders: the article's 0.88 to two places, and MTEB's to five."""
    published = {"mnr_article_mpnet": (88.0, 0.6), "minilm_stsb": (82.032, 0.05), "mpnet_stsb": (83.422, 0.05)}
    gated = {e.id: e for e in documented() if e.evaluation == "similarity" and e.gated}
    assert gated.keys() == published.keys()
    for name, (value, tolerance) in published.items():
        entry = gated[name]
        assert entry.metrics["STS-B/spearman"] == pytest.approx(value, abs=0.005) and entry.tolerance == tolerance
        stated = {key.partition(".")[2] for key in entry.settings if key.startswith("encoder.")}
        assert stated >= {"max_query_tokens", "pooling", "output_dim", "layers", "query_prefix", "post"}
        assert entry.settings["train.init_from"] is None and entry.settings["train.precision"] == "fp32"


def test_what_is_not_stated_is_context() -> None:
    softmax, mnr = KNOWN["mnr_article_softmax"], KNOWN["mnr_article_mnr"]
    assert (softmax.metrics, mnr.metrics) == ({"STS-B/spearman": 67}, {"STS-B/spearman": 77})
    assert not softmax.gated and not mnr.gated
    assert "not stated" in " ".join(softmax.caveats) and "not stated" in " ".join(mnr.caveats)


# In a report


def shown(*records: Record) -> str:
    found: Section | None = gate(parts_of(*records))
    assert found is not None
    return render([found])


def test_a_report_shows_the_rows_of_its_kinds_of_evaluation_beside_the_runs() -> None:
    told = shown(sts(81.25, encoder={"name": "minilm"}))
    assert "literature_search" not in told and "all-MiniLM-L6-v2 as published" in told
    part = told[told.index("Runs here") :]
    assert [cell.strip() for cell in part[part.index("| untrained") :].split("|")[1:5]] == [
        "untrained",
        "minilm",
        "81.25",
        "81.25",
    ]
    assert told.count("| untrained") == 1, "not beside the dev split, nor beside other tasks that are called STS-B"
    retrieval = run("in_batch", 1, metrics={"recall@1": 50.0})
    assert "STS-B" not in shown(retrieval) and "literature_search" in shown(retrieval)
    both = shown(retrieval, sts())
    assert "literature_search" in both and "STS-B, test" in both


# Repeating one


@pytest.mark.parametrize(
    ("target", "pairs", "status", "said"),
    [(50.0, 30, 0, "pass"), (-100.0, 30, 1, "FAIL, above"), (50.0, 31, 1, "it differs in data")],
)
def test_a_repetition_ends_in_pass_fail_or_what_differs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    target: float,
    pairs: int,
    status: int,
    said: str,
) -> None:
    entry = replace(ROW, backbone="scratch", metrics={"STS-B/spearman": target}, pairs={"STS-B": [pairs]}, encoder=None)
    entry = replace(entry, tolerance=50.0, encoder="scratch")
    monkeypatch.setattr("reports.documented.documented", lambda: [entry])
    assert bench("reproduce") == 0 and "one: As published, scratch (STS-B)" in capsys.readouterr().out
    assert bench("reproduce", "one") == 2
    assert "give its directory as data=DIR/STS-B" in capsys.readouterr().err
    given = (
        f"data={write_task(tmp_path / 'STS-B')}",
        f"runs_dir={tmp_path / 'runs'}",
        "track=none",
        "device=cpu",
        "train.precision=fp32",
    )
    assert bench("reproduce", "one", *given) == status
    assert said in " ".join(capsys.readouterr().out.split())
