"""Published rows: that they are what was published, that only a repetition is judged, and that one can be made."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from records import run
from tiny import WORDS, bench

from bench.compare.row import StrategyRow
from bench.errors import UserError
from bench.record.ledger import read
from reports.documented import Documented, documented
from reports.gate import against, gate, outcomes, repetition
from reports.parts import parts
from strategies import registered

ALL = documented()
ROW = Documented(
    "one",
    "In-batch",
    "in_batch",
    "faq",
    "minilm-l3",
    {"recall@1": 50.0},
    "a page",
    {"train.batch_size": 32, "strategy.scale": 20},
    tolerance=1.0,
    because="so it is",
    caveats=("Beware.",),
)


def rows(recall: float = 50.0, **changes: Any) -> list[StrategyRow]:
    record = run("in_batch", 1, metrics={"recall@1": recall}, **changes)
    return [row for group in parts([record], Path("nowhere"), "recall@1") for row in group.comparison.rows]


# What is known


def test_published_shares_are_whole_counts_of_their_queries() -> None:
    """19,939 and 10,254 queries: with no other number can all the printed shares be counts."""
    queries = {"literature_search": (19939, 3), "semantic_indexing": (10254, 2)}
    found = [entry for entry in ALL if entry.data in queries]
    assert len(found) == 15
    for entry in found:
        count, digits = queries[entry.data]
        for name, value in entry.metrics.items():
            hits = round(value * count / 100)
            assert round(100 * hits / count, digits) == value, (entry.id, name)
        recalls = [value for _, value in sorted(entry.metrics.items(), key=lambda m: int(m[0][7:]))]
        assert recalls == sorted(recalls)


def test_whitening_is_documented_for_every_model_pooling_and_task() -> None:
    found = [entry for entry in ALL if entry.data == "senteval_cn"]
    assert len(found) == 2 * 2 * 4 * 3
    tasks = ("ATEC", "BQ", "LCQMC", "PAWSX", "STS-B")
    assert {tuple(entry.metrics) for entry in found} == {tuple(f"{task}/spearman" for task in tasks)}
    raw = {e.id: e.metrics["PAWSX/spearman"] for e in found if e.id.endswith("_raw")}
    better = [raw[name.replace("simbert", "roformer_sim")] > raw[name] for name in raw if "simb" in name]
    assert not any(better), "on PAWSX without whitening the older model is better"


def test_every_system_that_is_documented_is_there() -> None:
    sources = " ".join(entry.source for entry in ALL)
    for name in (
        "PaddleNLP slm/applications/neural_search",
        "README_gradient_cache",
        "SimCSE",
        "DRhard",
        "FlagEmbedding",
        "MultipleNegativesRankingLoss",
        "RoFormer-Sim",
        "JieShen",
    ):
        assert name in sources
    assert all(entry.source and entry.caveats and entry.label for entry in ALL)


def test_published_rows_name_strategies_and_settings_that_are_here() -> None:
    from bench.config.overrides import resolve

    assert {entry.strategy for entry in ALL} - {None} <= set(registered())
    for entry in ALL:
        if entry.strategy is not None or not entry.trains:
            resolve(entry.overrides([] if entry.encoder else ["encoder=minilm"]))


def test_what_was_published_without_its_settings_has_no_gate() -> None:
    assert {e.id for e in ALL if e.strategy == "random_pairwise" and e.tolerance is None} == {
        "paddle_random",
        "semantic_random",
    }
    gated = [entry for entry in ALL if entry.tolerance is not None]
    assert all(entry.because for entry in gated)


def test_a_tolerance_is_no_less_than_two_published_runs_of_one_row_lie_apart() -> None:
    found = {entry.id: entry for entry in ALL}
    for name in ("paddle_in_batch", "paddle_simcse"):
        row, log = found[name], found[f"{name}_log"]
        assert row.tolerance is not None
        assert all(abs(row.metrics[metric] - log.metrics[metric]) <= row.tolerance for metric in row.metrics)


def test_each_tolerance_stands_with_its_reason_and_its_rows() -> None:
    told = " ".join(
        str(block)
        for block in gate([], [replace(ROW, id="a"), replace(ROW, id="b", label="Other", tolerance=3.0)]).blocks
    )
    assert "(In-batch, minilm-l3): so it is" in told and "(Other, minilm-l3): so it is" in told


# The gate


@pytest.mark.parametrize(
    ("recall", "said"),
    [(50.0, "pass"), (51.0, "pass"), (49.0, "pass"), (51.01, "FAIL, above"), (48.99, "FAIL, below")],
)
def test_a_repetition_passes_within_its_tolerance(recall: float, said: str) -> None:
    ((name, target, difference, verdict_),) = outcomes(ROW, rows(recall)[0])
    assert (name, target, verdict_) == ("recall@1", 50.0, said)
    assert difference == pytest.approx(recall - 50)


@pytest.mark.parametrize(
    ("changes", "apart"),
    [
        ({"data": "other"}, ["data"]),
        ({"backbone": None}, ["backbone"]),
        ({"data": "other", "backbone": "ernie"}, ["data", "backbone"]),
        ({"strategy": "mnr"}, ["strategy"]),
        ({"settings": {"train.batch_size": 64}}, ["train.batch_size"]),
    ],
)
def test_anything_else_is_context_and_says_why(changes: dict[str, Any], apart: list[str]) -> None:
    entry = replace(ROW, **changes)
    assert repetition(entry, rows()) == (None, apart)
    section, passed = against(entry, rows())
    assert not passed and "no repetition" in str(section.blocks[0])


def test_what_was_not_measured_is_not_reached() -> None:
    entry = replace(ROW, metrics={"recall@1": 50.0, "recall@5": 70.0})
    found = rows()
    assert [(name, said) for name, _, _, said in outcomes(entry, found[0])] == [
        ("recall@1", "pass"),
        ("recall@5", "not measured"),
    ]
    assert not against(entry, found)[1] and against(ROW, found)[1]


def test_a_repetition_that_would_not_measure_what_is_documented_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("reproduce", "paddle_in_batch", "data.path=nowhere", "eval.ks=[1]") == 2
    assert "eval.ks leaves out recall@" in capsys.readouterr().err


def test_a_backbone_is_known_by_the_last_part_of_its_place() -> None:
    for name in ("minilm-l3", "../models/minilm-l3", "someone/minilm-l3"):
        assert repetition(ROW, rows(encoder={"name": name}))[0] is not None
    assert repetition(replace(ROW, backbone="b", encoder="hub/minilm-l3"), rows())[0] is not None


def test_the_nearest_run_tells_what_is_missing() -> None:
    other = rows(encoder={"name": "x"}, data={"name": "y", "fingerprint": "g", "counts": {}})
    assert repetition(replace(ROW, backbone="ernie"), [*other, *rows()])[1] == ["backbone"]
    assert repetition(ROW, [])[1] == ["data", "backbone"]


# Reading them


def test_rows_inherit_from_their_file_and_have_their_own(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "data: d\nsource: s\ntolerance: 2\nsettings: {lr: 1, bs: 2}\ncaveats: [shared]\nrows:\n"
        "  - {id: x, label: X, strategy: null, backbone: b, metrics: {recall@1: 5}}\n"
        "  - {id: y, label: Y, strategy: mnr, backbone: b, metrics: {}, source: t, settings: {lr: 3}, caveats: [own]}\n"
    )
    x, y = documented(tmp_path)
    assert (x.source, x.settings, x.caveats, x.tolerance) == ("s", {"lr": 1, "bs": 2}, ("shared",), 2)
    assert (y.source, y.settings, y.caveats, y.tolerance) == ("t", {"lr": 3, "bs": 2}, ("shared", "own"), 2)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[{id: x, label: X}]", r"a\.yaml: row x: .*missing"),
        ("[{id: x, colour: red}]", r"a\.yaml: row x: .*colour"),
        (
            "[{id: x, label: X, strategy: m, backbone: b, metrics: {recall@1: 700}}]",
            "row x: recall@1=700 is not a perc",
        ),
        ("[{id: x, label: X, strategy: m, backbone: b, metrics: {}}, {id: x", "not YAML"),
    ],
)
def test_a_broken_row_is_told_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "a.yaml").write_text(f"data: d\nsource: s\nrows: {text}\n")
    with pytest.raises(UserError, match=told):
        documented(tmp_path)


# Repeating one


@pytest.fixture
def literature(tmp_path: Path) -> Path:
    """The layout of literature_search_data.zip, in miniature: 70 titles, a query of three of its words for each."""
    import random

    rng = random.Random(0)
    recall = tmp_path / "literature_search_data" / "recall"
    recall.mkdir(parents=True)
    titles = [" ".join(rng.sample(WORDS, 6)) + f" {n}" for n in range(70)]
    pairs = [f"{' '.join(rng.sample(title.split()[:6], 3))}\t{title}" for title in titles]
    for name, lines in {"corpus": titles, "train": pairs[:50], "dev": pairs[50:], "test": pairs[60:]}.items():
        (recall / f"{name}.csv").write_text("\n".join(lines) + "\n")
    return recall.parent


def test_a_documented_command_is_one_line_and_says_how_far_off_it_is(
    literature: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    encoder = tmp_path / "ernie-1.0-base-zh"
    encoder.mkdir()
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *map(str, range(70))]
    (encoder / "vocab.txt").write_text("\n".join(vocabulary))
    BertTokenizer(str(encoder / "vocab.txt")).save_pretrained(encoder)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    torch.manual_seed(0)
    BertModel(config).save_pretrained(encoder)
    runs = tmp_path / "runs"
    given = [f"data.path={literature}", f"encoder={encoder}", f"runs_dir={runs}", "track=none", "device=cpu"]

    assert bench("reproduce", "paddle_in_batch", *given) == 1  # a tiny model on another data set does not reach it
    out = capsys.readouterr().out
    table = [line.split("|") for line in out.splitlines() if line.startswith("| In-batch, ernie-1.0")]
    assert len(table) == 5 and "FAIL, below" in table[0][-2]
    targets = {line[3].strip(): float(line[4]) for line in table}
    assert targets == {"R@1": 51.3, "R@5": 65.31, "R@10": 69.88, "R@20": 74.0, "R@50": 78.88}
    assert "Tolerance 2 points" in out
    used = read(runs).records[0].config
    assert used["train"]["epochs"] == 3 and used["strategy"]["margin"] == 0.2
    assert used["encoder"]["output_dim"] == 256 and used["eval"]["paddle_compat"] is True
    assert bench("reproduce", "paddle_in_batch", *given, "train.epochs=1") == 1
    assert "it differs in train.epochs" in re.sub(r"\s+", " ", capsys.readouterr().out)


def test_what_can_be_reproduced_is_listed_and_what_not_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("reproduce") == 0
    assert "paddle_in_batch: In-batch, ernie-1.0 (literature_search)" in capsys.readouterr().out
    assert bench("reproduce", "semantic_in_batch", "data=semantic_indexing") == 2
    assert "is no directory" in capsys.readouterr().err, "a place that was given is looked at"
    for name, message in {
        "paddle_in_bacth": "paddle_in_batch",
        "paddle_dap_simcse": "negbench has no equivalent strategy",
        "paddle_in_batch_rocketqa": "give its place as encoder=DIR_OR_HUB_ID",
        "paddle_in_batch": "needs data.path",
        "semantic_in_batch": "give its directory as data=DIR/semantic_indexing",
    }.items():
        assert bench("reproduce", name) == 2
        assert message in capsys.readouterr().err
